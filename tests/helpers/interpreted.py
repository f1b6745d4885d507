"""Runs tests of Triton kernels without a GPU, by Triton's interpreter.

Triton chooses its interpreter when a kernel is defined, so a process has it for all kernels or for none. Tests marked
by ``by_interpreter`` therefore run in a second process, which starts once per session.

    python tests/helpers/interpreted.py    the second process
"""

import contextlib
import functools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

ROOT = Path(__file__).parents[2]
# Largest relative error of a kernel against double precision.
BOUNDS = ((torch.float32, 1e-6), (torch.bfloat16, 1e-2), (torch.float16, 1e-3))
# A test with this mark runs in the second process.
by_interpreter = pytest.mark.usefixtures('triton_interpreter')


def marked(names: str | Sequence[str], values: Sequence) -> list:
    """Return values of a parametrisation; all but the first have the marker ``interpreter``, for `make test-all`."""
    single = isinstance(names, str) and ',' not in names
    first, *others = [(value,) if single else value for value in values]
    return [pytest.param(*first), *(pytest.param(*other, marks=pytest.mark.interpreter) for other in others)]


def parametrize(names: str | Sequence[str], values: Sequence, **options) -> pytest.MarkDecorator:
    """Return ``pytest.mark.parametrize`` whose first value alone belongs to the tests that run by default."""
    return pytest.mark.parametrize(names, marked(names, values), **options)


def relative(found: Tensor, expected: Tensor) -> float:
    """Return the norm of the difference over the norm of ``expected``."""
    found, expected = found.detach().double(), expected.detach().double()
    return ((found - expected).norm() / expected.norm().clamp_min(1e-30)).item()


class Result(NamedTuple):
    """Outcome of a test ('passed', 'failed' or 'skipped'), and its error or reason."""

    outcome: str
    text: str


class Interpreter:
    """The second process, which runs tests by their ids."""

    def __init__(self):
        environment = {name: value for name, value in os.environ.items() if not name.startswith('PYTEST_')}
        environment |= dict(
            TRITON_INTERPRET='1', OMP_NUM_THREADS='1', PYTHONPATH=os.pathsep.join(filter(None, sys.path))
        )
        self.errors = tempfile.TemporaryFile('w+')  # noqa: SIM115 - close() closes it
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            cwd=ROOT,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
        )
        self.sent: set[str] = set()
        self.results: dict[str, Result] = {}

    def run(self, test: str, tests: Sequence[str]) -> Result:
        """Return the result of ``test``.

        ``tests`` are the tests that the caller asks for next. The process runs all of them ahead.
        """
        if test not in self.sent:
            self.sent |= {test, *tests}
            print(json.dumps([test, *(other for other in tests if other != test)]), file=self.process.stdin, flush=True)
        while test not in self.results:
            line = self.process.stdout.readline()
            name, outcome, text = json.loads(line) if line else (None, 'failed', 'the process ended')
            if name is None:
                lost = Result(outcome, f'{text}\n{self.output()}')
                self.results |= dict.fromkeys(self.sent - set(self.results), lost)
            else:
                self.results[name] = Result(outcome, text)
        return self.results[test]

    def output(self) -> str:
        """Return the last characters that the process printed."""
        self.errors.seek(0)
        return self.errors.read()[-20_000:]

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()


@functools.cache
def shared() -> Interpreter:
    """Return the second process of this session."""
    return Interpreter()


def close() -> None:
    """End the second process, if there is one."""
    if shared.cache_info().currsize:
        shared().close()
        shared.cache_clear()


class Recorder:
    """Plugin that prints the result of each test as a line of JSON."""

    def __init__(self, stream):
        self.stream, self.reports = stream, []

    def send(self, test: str | None, outcome: str, text: str) -> None:
        """Print a result; ``test`` is None for all that have none."""
        print(json.dumps([test, outcome, text]), file=self.stream, flush=True)

    def pytest_runtest_logreport(self, report) -> None:
        """Collect the reports of set-up, call and tear-down."""
        self.reports.append(report)

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Print the worst of the reports."""
        worst = min(self.reports, key=lambda report: ('failed', 'skipped', 'passed').index(report.outcome))
        text = worst.longrepr[2] if isinstance(worst.longrepr, tuple) else worst.longreprtext
        printed = '\n'.join(f'{title}\n{content}' for title, content in worst.sections)
        self.send(nodeid, worst.outcome, '\n'.join(filter(None, (text, printed))))
        self.reports.clear()


def requests() -> Iterator[list[str]]:
    """Yield lists of tests from standard input."""
    for line in sys.stdin:
        yield json.loads(line)


def serve() -> None:
    """Run the tests that standard input names; results go to standard output, all else to standard error."""
    recorder = Recorder(os.fdopen(os.dup(1), 'w'))
    os.dup2(2, 1)
    for tests in requests():
        code = pytest.main(['-q', '-m', '', '-p', 'no:cacheprovider', '-p', 'no:xdist', *tests], plugins=[recorder])
        if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
            recorder.send(None, 'failed', f'pytest ended with {code!r}')


if __name__ == '__main__':
    with contextlib.suppress(KeyboardInterrupt):
        serve()
