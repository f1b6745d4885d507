"""Sets up .venv; `make env` calls it, and so does every make target that needs the environment.

It uses the standard library alone, because it runs before anything is installed. The work is a list of steps. A
finished step leaves a stamp in .venv/setup: a hash of Python's version, of the files that the step reads, and of the
steps before it. A second call does nothing. A changed file repeats its step and all later steps. A call after a failure
continues at the failed step.

    python3 tools/setup_env.py [--from STEP]
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ('3.10', '3.11', '3.12')
THIS_PYTHON = f'{sys.version_info[0]}.{sys.version_info[1]}'
VENV_GB, TEMPORARY_GB = 7.0, 3.0
KERNELS = tuple(sorted(f'moganet/ops/cpp/{path.name}' for path in (ROOT / 'moganet/ops/cpp').glob('*.[ch]*')))
LISTS = ('requirements/build.txt', 'requirements/runtime.txt', 'requirements/dev.txt')

# Usual causes of failures: pattern in the end of the log, remedy. The first match is printed.
HINTS = (
    (r'No space left on device', 'the disk is full: free some space'),
    (r'Killed signal|fatal error: Killed|Cannot allocate memory', 'memory ran out: put MAX_JOBS=1 before the command'),
    (
        r'name resolution|Connection refused|timed out|No matching distribution|ConnectionError',
        'pip reached no package index with this package: check the network and `pip config list`',
    ),
    (r'Permission denied', 'a file or folder is not writable for you'),
)


class SetupError(Exception):
    """A step cannot continue; the text gives the reason in one line."""


@dataclass(frozen=True)
class Step:
    """One step of the set-up.

    Attributes:
        name: Name for --from and for the step's files in .venv/setup.
        title: Line on the screen.
        work: Does the step.
        files: Files of the checkout that the step depends on.
        makes: A file that the step installs, as a pattern in site-packages; '' if it installs none.
    """

    name: str
    title: str
    work: Callable[[Job], None]
    files: tuple[str, ...] = ()
    makes: str = ''


class Screen:
    """Output of the set-up, one line per step.

    A terminal shows the progress in that line; in other outputs every tenth compiled file is a line.

    Args:
        stream: Standard output if None.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self.line = ''

    def start(self, line: str) -> None:
        """Begin the line of a step."""
        self.line = line
        self._write(line if self.live else line + '\n')

    def state(self, text: str) -> None:
        """Show the progress of the step; the next progress replaces it."""
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            self._write('\r' + f'{self.line}  {text}'[:width] + '\033[K')
        elif re.match(r'compiled \d*0/', text):
            self._write(f'      {text}\n')

    def say(self, text: str) -> None:
        """Print a note on a line of its own."""
        self._write(f'\r{text}\033[K\n{self.line}' if self.live else f'      {text}\n')

    def end(self, text: str) -> None:
        """End the line of the step with its result."""
        self._write(f'\r{self.line}  {text}\033[K\n' if self.live else f'      {text}\n')

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


class Job:
    """A running step: runs commands and writes their output into the log of the step.

    Args:
        root: The checkout.
        name: Name of the step.
        screen: Shows the progress.
        again: Reinstall packages that look installed: the step was killed half-way, or its files are gone.
    """

    def __init__(self, root: Path, name: str, screen: Screen, again: bool = False) -> None:
        self.root, self.screen, self.again = root, screen, again
        self.venv = root / '.venv'
        self.python = self.venv / 'bin/python'
        self.log = self.venv / f'setup/{name}.log'

    def run(self, *command: str | Path) -> None:
        """Run a command in the checkout.

        Raises:
            SetupError: the command ended with another status than 0.
        """
        line = shlex.join(str(part) for part in command)
        with self.log.open('a', buffering=1) as log:
            log.write(f'$ {line}\n')
            child = subprocess.Popen(
                command,
                cwd=self.root,
                env=build_environment(self.venv),
                text=True,
                errors='replace',
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                for text in child.stdout or ():
                    log.write(text)
                    self._show(text.strip())
                if child.wait():
                    raise SetupError(f'`{line[:100]}` ended with status {child.returncode}')
            finally:
                stop(child)

    def install(self, *arguments: str | Path) -> None:
        """Run `pip install` in .venv.

        Raises:
            SetupError: pip failed.
        """
        self.run(self.python, '-m', 'pip', 'install', *(['--force-reinstall'] if self.again else []), *arguments)

    def _show(self, text: str) -> None:
        if count := re.match(r'\[(\d+)/(\d+)\] ', text):
            self.screen.state(f'compiled {count[1]}/{count[2]}')
        elif text.startswith('>>> '):
            self.screen.say(text.removeprefix('>>> '))
        elif text.startswith(('Collecting ', 'Downloading ', 'Building wheel ', 'Installing collected ')):
            self.screen.state(text)


def stop(child: subprocess.Popen[str]) -> None:
    """End a running command as Ctrl-C does: pip and ninja then end their own children and remove their files."""
    for number in (signal.SIGINT, signal.SIGKILL):
        if child.poll() is None:
            os.killpg(child.pid, number)
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                continue


def build_environment(venv: Path) -> dict[str, str]:
    """Return the variables of every command: PATH has ninja, and pip sees and writes no packages outside .venv."""
    excluded = ('PYTHONPATH', 'PYTHONHOME', 'PIP_USER', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_REQUIRE_VIRTUALENV')
    return {
        **{name: value for name, value in os.environ.items() if name not in excluded},
        'PATH': f'{venv / "bin"}{os.pathsep}{os.environ.get("PATH", os.defpath)}',
        'PYTHONNOUSERSITE': '1',
        'PYTHONUNBUFFERED': '1',
        'PIP_DISABLE_PIP_VERSION_CHECK': '1',
        'PIP_NO_INPUT': '1',
        'CXX': compiler() or 'c++',
    }


def create_venv(job: Job) -> None:
    """Make .venv with pip in it, also for a Python without ensurepip such as Debian's."""
    for path in job.venv.iterdir():
        if path.name != 'setup':
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    # The running interpreter may belong to the .venv that is made anew: use the interpreter that it was made from.
    base = getattr(sys, '_base_executable', sys.executable)
    job.run(base, '-m', 'venv', '--without-pip', job.venv)
    try:
        job.run(job.python, '-m', 'ensurepip')
    except SetupError:
        job.run(base, '-m', 'pip', 'install', '--target', job.venv / f'lib/python{THIS_PYTHON}/site-packages', 'pip')


def install_wheels(job: Job) -> None:
    """Install the pinned packages that come as wheels."""
    job.install('--no-deps', *(argument for name in LISTS for argument in ('-r', name)))


def install_torch(job: Job) -> None:
    """Install torch with its own dependencies, at the pinned versions where a list pins them."""
    job.install('-r', 'requirements/torch.txt', '-c', 'requirements/build.txt', '-c', 'requirements/runtime.txt')


def install_openmmlab(job: Job) -> None:
    """Install the OpenMMLab packages; some are compiled."""
    # No cache: pip would install a wheel of xtcocotools that was compiled against another numpy.
    job.install('--no-deps', '--no-build-isolation', '--no-cache-dir', '-r', 'requirements/openmmlab.txt')


def install_project(job: Job) -> None:
    """Install this checkout in editable mode."""
    job.install('--no-deps', '--no-build-isolation', '-e', '.')


def compile_kernels(job: Job) -> None:
    """Compile the kernels of MogaNet. A failure does not end the set-up; it makes the network slower on a CPU."""
    try:
        job.run(job.python, '-m', 'moganet', 'kernels')
    except SetupError:
        job.screen.say(f'not compiled, PyTorch computes instead; why: {job.log}')


def run_script(path: str) -> Callable[[Job], None]:
    """Return the work of a step that runs a script with .venv's Python."""
    return lambda job: job.run(job.python, path)


STEPS = (
    Step('venv', '.venv with pip', create_venv, makes='pip/__init__.py'),
    Step('wheels', 'pinned packages, 0.2 GB to download', install_wheels, LISTS, 'numpy/__init__.py'),
    Step('torch', 'torch, 2.7 GB to download', install_torch, ('requirements/torch.txt',), 'torch/__init__.py'),
    Step('openmmlab', 'OpenMMLab', install_openmmlab, ('requirements/openmmlab.txt',), 'mmengine/__init__.py'),
    Step('mmcv', "mmcv's ops", run_script('tools/build_mmcv.py'), ('requirements/mmcv.txt',), 'mmcv/_ext.*.so'),
    Step('moganet', 'this checkout', install_project, ('pyproject.toml',), 'moganet-*.dist-info'),
    Step('kernels', "MogaNet's kernels for this CPU", compile_kernels, KERNELS),
    Step('doctor', 'proof that everything imports', run_script('moganet/doctor.py')),
)


def compiler() -> str | None:
    """Return the command of the C++ compiler, or None if there is none."""
    return os.environ.get('CXX') or next((name for name in ('c++', 'g++', 'clang++') if shutil.which(name)), None)


def machine_problem(todo: Sequence[Step], root: Path) -> str:
    """Return the first thing that this machine lacks for the steps, in one line; '' if nothing is missing."""
    names = {step.name for step in todo}
    return ('torch' in names and disk_problem(root)) or ('mmcv' in names and compiler_problem()) or ''


def disk_problem(root: Path) -> str:
    """Return a line if the disk of the checkout or of temporary files is too small, else ''."""
    temporary = Path(tempfile.gettempdir())
    shared = root.stat().st_dev == temporary.stat().st_dev
    for place, needed in ((root, VENV_GB + TEMPORARY_GB * shared), (temporary, TEMPORARY_GB)):
        free = shutil.disk_usage(place).free / 1e9
        if free < needed:
            moves = f'TMPDIR moves {temporary}'
            return f'{free:.1f} GB are free on the disk of {place}, {needed:.0f} GB are needed ({moves})'
    return ''


def compiler_problem() -> str:
    """Return a line if there is no working C++17 compiler or no Python.h, else ''."""
    cxx, headers = compiler(), sysconfig.get_paths()['include']
    if cxx is None:
        return 'no C++ compiler (c++, g++, clang++): install one (Debian, Ubuntu: apt install g++) or set CXX'
    command = [*shlex.split(cxx), '-std=c++17', '-fsyntax-only', '-I', headers, '-x', 'c++', '-']
    source = '#include <filesystem>\n#include <Python.h>\n'
    try:
        test = subprocess.run(command, input=source, capture_output=True, text=True)
    except OSError as error:
        return f'the C++ compiler {cxx!r} does not start: {error}'
    if test.returncode and 'Python.h' in test.stderr:
        return f'no Python.h in {headers}: install it (Debian, Ubuntu: apt install python{THIS_PYTHON}-dev)'
    if test.returncode:
        return f'the C++ compiler {cxx!r} compiles no C++17: {test.stderr.strip().splitlines()[0]}'
    return ''


def unknown_venv(root: Path) -> bool:
    """Return True if .venv is a working environment that this script did not make."""
    venv = root / '.venv'
    return (venv / 'pyvenv.cfg').exists() and (venv / 'bin/python').exists() and not (venv / 'setup').exists()


def step_keys(steps: Sequence[Step], root: Path) -> dict[str, str]:
    """Return the text of each step's stamp. It changes with Python's version, a file or an earlier step."""
    digest = hashlib.sha256(THIS_PYTHON.encode())
    keys = {}
    for step in steps:
        for text in (step.name, *((root / file).read_text() for file in step.files)):
            digest.update(text.encode() + b'\0')
        # An editable install points at its checkout: a moved or copied checkout needs another one.
        keys[step.name] = digest.hexdigest() + (f' {root}' if step.name == 'moganet' else '')
    return keys


def is_made(step: Step, root: Path) -> bool:
    """Return True if the file that the step installs is there."""
    return any(root.glob(f'.venv/lib/python{THIS_PYTHON}/site-packages/{step.makes}'))


def pending(steps: Sequence[Step], root: Path, keys: dict[str, str]) -> Sequence[Step]:
    """Return the first step that is not done, and all later steps."""
    if not (root / '.venv/bin/python').exists():
        return steps
    for index, step in enumerate(steps):
        stamp = root / f'.venv/setup/{step.name}.done'
        if not stamp.exists() or stamp.read_text() != keys[step.name] or not is_made(step, root):
            return steps[index:]
    return ()


def run_steps(steps: Sequence[Step], root: Path, screen: Screen) -> int:
    """Run the pending steps; return the exit status."""
    keys = step_keys(steps, root)
    for step in pending(steps, root, keys):
        if status := run_step(step, f'[{steps.index(step) + 1}/{len(steps)}]', keys[step.name], root, screen):
            return status
    return 0


def run_step(step: Step, number: str, key: str, root: Path, screen: Screen) -> int:
    """Run one step and write its stamp.

    Args:
        step: The step.
        number: Its place in the list, as printed.
        key: The text of its stamp.
        root: The checkout.
        screen: Shows the progress.

    Returns:
        The exit status: 1 after a failure, 130 after Ctrl-C.
    """
    state = root / '.venv/setup'
    state.mkdir(parents=True, exist_ok=True)
    started, stamp = state / f'{step.name}.started', state / f'{step.name}.done'
    job = Job(root, step.name, screen, again=started.exists() or (stamp.exists() and not is_made(step, root)))
    stamp.unlink(missing_ok=True)
    job.log.unlink(missing_ok=True)
    started.touch()
    begin = time.monotonic()
    screen.start(f'{number} {step.title}')
    try:
        step.work(job)
    except (SetupError, OSError) as error:
        started.unlink(missing_ok=True)
        screen.end('failed')
        print(failure(f'{number} {step.name}', str(error), job.log), file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        screen.end(f'interrupted; the same command goes on at step {step.name}')
        return 130
    started.unlink(missing_ok=True)
    stamp.write_text(key)
    screen.end(f'done, {time.monotonic() - begin:.0f} s')
    return 0


def failure(step: str, error: str, log: Path, tail: int = 12) -> str:
    """Return the message of a failed step: its name, the end of its log, the path of the log, the next command.

    Args:
        step: Number and name of the step.
        error: The error in one line.
        log: The log of the step.
        tail: Number of lines from the end of the log.
    """
    lines = log.read_text(errors='replace').splitlines() if log.exists() else []
    first = next((line for line in lines[:-tail] if re.search(r'\berror: ', line, re.IGNORECASE)), None)
    shown = ([first, '...'] if first else []) + lines[-tail:]
    hint = next((text for pattern, text in HINTS if re.search(pattern, '\n'.join([*lines[-200:], error]))), None)
    return '\n'.join(
        [f'\nSet-up stopped at step {step}: {error}']
        + [f'    {line[:200]}' for line in shown]
        + [f'The whole log: {log}']
        + ([f'Likely: {hint}.'] if hint else [])
        + ['To go on: mend the cause and call the same command again; it continues at this step.']
    )


def repeat_from(steps: Sequence[Step], name: str, root: Path) -> None:
    """Mark a step as killed half-way, so that it reinstalls its packages.

    Raises:
        ValueError: no step has this name.
    """
    if name not in [step.name for step in steps]:
        raise ValueError(f'no step is called {name!r}; the steps are {", ".join(step.name for step in steps)}')
    state = root / '.venv/setup'
    if state.exists():
        (state / f'{name}.done').unlink(missing_ok=True)
        (state / f'{name}.started').touch()


def lock(root: Path) -> None:
    """Wait for another set-up of the same checkout; the lock ends with this process."""
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print('Another set-up runs in this checkout; waiting for it.', flush=True)
        fcntl.flock(folder, fcntl.LOCK_EX)
    except OSError:
        # NFS locks no folders. Without a lock the set-up works as long as nobody starts two of them at once.
        return


def refuse(problem: str) -> int:
    """Print the reason why the set-up cannot start; return the exit status."""
    print(f'Cannot set up: {problem}', file=sys.stderr)
    return 1


def main(argv: Sequence[str] | None = None) -> int:
    """Set up .venv; return the exit status."""
    parser = argparse.ArgumentParser(description='Sets up .venv, or continues where an earlier call stopped.')
    parser.add_argument('--from', dest='first', metavar='STEP', help='do this step and those after it again')
    first = parser.parse_args(argv).first
    if THIS_PYTHON not in PYTHONS:
        return refuse(
            f'this is Python {THIS_PYTHON}, supported are {", ".join(PYTHONS)}: make env PYTHON=/path/to/python3.11'
        )
    # A signal ends pip and the compilers too, also in the background job of a script, which ignores Ctrl-C by default.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    lock(ROOT)
    try:
        if first:
            repeat_from(STEPS, first, ROOT)
    except ValueError as error:
        return refuse(f'--from: {error}')
    todo = pending(STEPS, ROOT, step_keys(STEPS, ROOT))
    if not todo:
        return 0
    if unknown_venv(ROOT):
        return refuse(f'{ROOT}/.venv is an environment that this script did not make: move it away and call again')
    if problem := machine_problem(todo, ROOT):
        return refuse(problem)
    return run_steps(STEPS, ROOT, Screen())


if __name__ == '__main__':
    sys.exit(main())
