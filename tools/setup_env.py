"""Sets up .venv; `make env` calls it, and so does every make target that needs the environment.

Standard library only, because it runs before anything is installed. The work is a list of steps. A finished step leaves
a stamp in .venv/setup, a hash of what the step depends on (Python's version, the files it reads, the steps before it):
a second call does nothing, a changed file repeats its step and those after it, a call after a failure goes on there.

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

ROOT = Path(__file__).resolve().parents[1]
PYTHONS = ('3.10', '3.11', '3.12')
THIS_PYTHON = f'{sys.version_info[0]}.{sys.version_info[1]}'
VENV_GB, TEMPORARY_GB = 7.0, 3.0
KERNELS = tuple(sorted(f'moganet/ops/cpp/{path.name}' for path in (ROOT / 'moganet/ops/cpp').glob('*.[ch]*')))
LISTS = ('requirements/build.txt', 'requirements/runtime.txt', 'requirements/dev.txt')

# What the end of a failed log mostly means; the first match is said.
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
    """A step cannot go on; the text is the one line that says why."""


@dataclass(frozen=True)
class Step:
    """One step: name, line on the screen, work, the files it depends on, and one file it puts in site-packages."""

    name: str
    title: str
    work: Callable[[Job], None]
    files: tuple[str, ...] = ()
    makes: str = ''


class Screen:
    """One line per step. A terminal shows on it what goes on; elsewhere every tenth compiled file is printed."""

    def __init__(self, stream=None) -> None:
        self.stream = stream or sys.stdout
        self.live = self.stream.isatty()
        self.line = ''

    def start(self, line: str) -> None:
        self.line = line
        self._write(line if self.live else line + '\n')

    def state(self, text: str) -> None:
        if self.live:
            width = shutil.get_terminal_size().columns - 1
            self._write('\r' + f'{self.line}  {text}'[:width] + '\033[K')
        elif re.match(r'compiled \d*0/', text):
            self._write(f'      {text}\n')

    def say(self, text: str) -> None:
        self._write(f'\r{text}\033[K\n{self.line}' if self.live else f'      {text}\n')

    def end(self, text: str) -> None:
        self._write(f'\r{self.line}  {text}\033[K\n' if self.live else f'      {text}\n')

    def _write(self, text: str) -> None:
        self.stream.write(text)
        self.stream.flush()


class Job:
    """A step under way: runs its commands and writes what they print into the step's log.

    Args:
        again: The step was killed half-way or its files are gone, so what looks installed is to be installed anew.
    """

    def __init__(self, root: Path, name: str, screen: Screen, again: bool = False) -> None:
        self.root, self.screen, self.again = root, screen, again
        self.venv = root / '.venv'
        self.python = self.venv / 'bin/python'
        self.log = self.venv / f'setup/{name}.log'

    def run(self, *command: str | Path) -> None:
        """Runs a command in the checkout.

        Raises:
            SetupError: It ended with another status than 0.
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
                for text in child.stdout:
                    log.write(text)
                    self._show(text.strip())
                if child.wait():
                    raise SetupError(f'`{line[:100]}` ended with status {child.returncode}')
            finally:
                stop(child)

    def install(self, *arguments: str | Path) -> None:
        self.run(self.python, '-m', 'pip', 'install', *(['--force-reinstall'] if self.again else []), *arguments)

    def _show(self, text: str) -> None:
        if count := re.match(r'\[(\d+)/(\d+)\] ', text):
            self.screen.state(f'compiled {count[1]}/{count[2]}')
        elif text.startswith('>>> '):
            self.screen.say(text.removeprefix('>>> '))
        elif text.startswith(('Collecting ', 'Downloading ', 'Building wheel ', 'Installing collected ')):
            self.screen.state(text)


def stop(child: subprocess.Popen) -> None:
    """Ends what still runs, as Ctrl-C does: pip and ninja then end their own children and remove their files."""
    for sign in (signal.SIGINT, signal.SIGKILL):
        if child.poll() is None:
            os.killpg(child.pid, sign)
            try:
                child.wait(timeout=10)
            except subprocess.TimeoutExpired:
                continue


def build_environment(venv: Path) -> dict[str, str]:
    """The variables of every command: ninja is found, and nothing makes pip see or write packages outside .venv."""
    foreign = ('PYTHONPATH', 'PYTHONHOME', 'PIP_USER', 'PIP_TARGET', 'PIP_PREFIX', 'PIP_REQUIRE_VIRTUALENV')
    return {
        **{name: value for name, value in os.environ.items() if name not in foreign},
        'PATH': f'{venv / "bin"}{os.pathsep}{os.environ.get("PATH", os.defpath)}',
        'PYTHONNOUSERSITE': '1',
        'PYTHONUNBUFFERED': '1',
        'PIP_DISABLE_PIP_VERSION_CHECK': '1',
        'PIP_NO_INPUT': '1',
        'CXX': compiler() or 'c++',
    }


def create_venv(job: Job) -> None:
    """Makes .venv with pip in it, also where Python comes without ensurepip, as Debian's does."""
    for path in job.venv.iterdir():
        if path.name != 'setup':
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    # This may be the very .venv that is made anew: its own interpreter is then the one it was made from.
    base = getattr(sys, '_base_executable', sys.executable)
    job.run(base, '-m', 'venv', '--without-pip', job.venv)
    try:
        job.run(job.python, '-m', 'ensurepip')
    except SetupError:
        job.run(base, '-m', 'pip', 'install', '--target', job.venv / f'lib/python{THIS_PYTHON}/site-packages', 'pip')


def install_wheels(job: Job) -> None:
    job.install('--no-deps', *(part for name in LISTS for part in ('-r', name)))


def install_torch(job: Job) -> None:
    job.install('-r', 'requirements/torch.txt', '-c', 'requirements/build.txt', '-c', 'requirements/runtime.txt')


def install_openmmlab(job: Job) -> None:
    # No cache: pip would take a wheel of xtcocotools that was compiled against another numpy.
    job.install('--no-deps', '--no-build-isolation', '--no-cache-dir', '-r', 'requirements/openmmlab.txt')


def install_project(job: Job) -> None:
    job.install('--no-deps', '--no-build-isolation', '-e', '.')


def compile_kernels(job: Job) -> None:
    """Without them the network is slower on a CPU, and nothing else: their failure ends no set-up."""
    try:
        job.run(job.python, '-m', 'moganet', 'kernels')
    except SetupError:
        job.screen.say(f'not compiled, PyTorch computes instead; why: {job.log}')


def run_script(path: str) -> Callable[[Job], None]:
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
    return os.environ.get('CXX') or next((name for name in ('c++', 'g++', 'clang++') if shutil.which(name)), None)


def machine_problem(todo: Sequence[Step], root: Path) -> str:
    """What this machine lacks for these steps, as one line; '' if nothing."""
    names = {step.name for step in todo}
    return ('torch' in names and disk_problem(root)) or ('mmcv' in names and compiler_problem()) or ''


def disk_problem(root: Path) -> str:
    temporary = Path(tempfile.gettempdir())
    shared = root.stat().st_dev == temporary.stat().st_dev
    for place, needed in ((root, VENV_GB + TEMPORARY_GB * shared), (temporary, TEMPORARY_GB)):
        free = shutil.disk_usage(place).free / 1e9
        if free < needed:
            moves = f'TMPDIR moves {temporary}'
            return f'{free:.1f} GB are free on the disk of {place}, {needed:.0f} GB are needed ({moves})'
    return ''


def compiler_problem() -> str:
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


def foreign_venv(root: Path) -> bool:
    """Whether .venv is a working environment that somebody else made."""
    venv = root / '.venv'
    return (venv / 'pyvenv.cfg').exists() and (venv / 'bin/python').exists() and not (venv / 'setup').exists()


def step_keys(steps: Sequence[Step], root: Path) -> dict[str, str]:
    """What each step's stamp must hold: another text when Python's version, a file or an earlier step changes."""
    digest = hashlib.sha256(THIS_PYTHON.encode())
    keys = {}
    for step in steps:
        for part in (step.name, *((root / file).read_text() for file in step.files)):
            digest.update(part.encode() + b'\0')
        # An editable install points at its checkout, so a moved or copied one needs its own.
        keys[step.name] = digest.hexdigest() + (f' {root}' if step.name == 'moganet' else '')
    return keys


def is_made(step: Step, root: Path) -> bool:
    return any(root.glob(f'.venv/lib/python{THIS_PYTHON}/site-packages/{step.makes}'))


def pending(steps: Sequence[Step], root: Path, keys: dict[str, str]) -> Sequence[Step]:
    """The first step that is not done, and all after it."""
    if not (root / '.venv/bin/python').exists():
        return steps
    for index, step in enumerate(steps):
        stamp = root / f'.venv/setup/{step.name}.done'
        if not stamp.exists() or stamp.read_text() != keys[step.name] or not is_made(step, root):
            return steps[index:]
    return ()


def run_steps(steps: Sequence[Step], root: Path, screen: Screen) -> int:
    """Runs what is not done. Returns the exit status."""
    keys = step_keys(steps, root)
    for step in pending(steps, root, keys):
        if status := run_step(step, f'[{steps.index(step) + 1}/{len(steps)}]', keys[step.name], root, screen):
            return status
    return 0


def run_step(step: Step, number: str, key: str, root: Path, screen: Screen) -> int:
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
    """What a failed step says: which one, the end of its log, where the log is, how to go on."""
    lines = log.read_text(errors='replace').splitlines() if log.exists() else []
    first = next((line for line in lines[:-tail] if re.search(r'\berror: ', line, re.IGNORECASE)), None)
    shown = ([first, '...'] if first else []) + lines[-tail:]
    hint = next((text for sign, text in HINTS if re.search(sign, '\n'.join([*lines[-200:], error]))), None)
    return '\n'.join(
        [f'\nSet-up stopped at step {step}: {error}']
        + [f'    {line[:200]}' for line in shown]
        + [f'The whole log: {log}']
        + ([f'Likely: {hint}.'] if hint else [])
        + ['To go on: mend the cause and call the same command again; it continues at this step.']
    )


def repeat_from(steps: Sequence[Step], name: str, root: Path) -> None:
    """Marks a step as killed half-way, so that it installs its packages anew.

    Raises:
        ValueError: No step has this name.
    """
    if name not in [step.name for step in steps]:
        raise ValueError(f'no step is called {name!r}; the steps are {", ".join(step.name for step in steps)}')
    state = root / '.venv/setup'
    if state.exists():
        (state / f'{name}.done').unlink(missing_ok=True)
        (state / f'{name}.started').touch()


def lock(root: Path) -> None:
    """Waits for another set-up of the same checkout; the lock ends with this process."""
    folder = os.open(root, os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        print('Another set-up runs in this checkout; waiting for it.', flush=True)
        fcntl.flock(folder, fcntl.LOCK_EX)
    except OSError:
        # NFS locks no folders. Going on without is right as long as nobody starts two set-ups there at once.
        return


def refuse(problem: str) -> int:
    print(f'Cannot set up: {problem}', file=sys.stderr)
    return 1


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description='Sets up .venv, or continues where an earlier call stopped.')
    parser.add_argument('--from', dest='first', metavar='STEP', help='do this step and those after it again')
    first = parser.parse_args(argv).first
    if THIS_PYTHON not in PYTHONS:
        return refuse(
            f'this is Python {THIS_PYTHON}, supported are {", ".join(PYTHONS)}: make env PYTHON=/path/to/python3.11'
        )
    # Told to end, also where a script's background job ignores Ctrl-C, this takes pip and the compilers with it.
    for sign in (signal.SIGINT, signal.SIGTERM):
        signal.signal(sign, signal.default_int_handler)
    lock(ROOT)
    try:
        if first:
            repeat_from(STEPS, first, ROOT)
    except ValueError as error:
        return refuse(f'--from: {error}')
    todo = pending(STEPS, ROOT, step_keys(STEPS, ROOT))
    if not todo:
        return 0
    if foreign_venv(ROOT):
        return refuse(f'{ROOT}/.venv is an environment that this script did not make: move it away and call again')
    if problem := machine_problem(todo, ROOT):
        return refuse(problem)
    return run_steps(STEPS, ROOT, Screen())


if __name__ == '__main__':
    sys.exit(main())
