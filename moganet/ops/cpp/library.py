"""Compiles and loads the library of CPU kernels.

The kernels are plain C++ without PyTorch's headers, so that one library serves every version of Python and PyTorch. The
file name contains a hash of the processor and of the sources. A library built on another processor or from other
sources is never loaded; the torch backend then computes.
"""

import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCES = tuple(sorted(Path(__file__).parent.glob('*.cpp')))
HEADERS = tuple(sorted(Path(__file__).parent.glob('*.h')))
FLAGS = ('-std=c++17', '-O3', '-march=native', '-fopenmp', '-fPIC')


def path() -> Path:
    """Return the path of the library for this processor and these sources, which may not exist."""
    cache = Path(os.environ.get('MOGANET_CACHE') or '~/.cache/moganet').expanduser()
    digest = hashlib.sha256(processor().encode())
    for part in (*FLAGS, *(source.read_text() for source in (*HEADERS, *SOURCES))):
        digest.update(part.encode() + b'\0')
    return cache.resolve() / 'kernels' / f'{digest.hexdigest()[:16]}.so'


def processor() -> str:
    """Return a description of this processor with its instruction sets."""
    try:
        lines = Path('/proc/cpuinfo').read_text().splitlines()
    except OSError:
        lines = []
    features = next((line for line in lines if line.startswith(('flags', 'Features'))), platform.processor())
    return f'{platform.machine()} {features}'


def build() -> Path:
    """Compile the kernels and return the path of the library, which appears whole or not at all.

    Raises:
        OSError: The compiler is missing or fails.
    """
    compiler = shlex.split(os.environ.get('CXX') or shutil.which('g++') or 'c++')
    library = path()
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as folder:
        objects = [Path(folder, source.stem + '.o') for source in SOURCES]
        commands = [[*compiler, *FLAGS, '-c', str(s), '-o', str(o)] for s, o in zip(SOURCES, objects, strict=True)]
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, commands))
        # Linked without OpenMP: the kernels use the OpenMP that PyTorch has loaded, since a second pool of threads
        # would compete for the cores.
        _run([*compiler, '-shared', *map(str, objects), '-o', f'{folder}/kernels.so'])
        try:
            ctypes.CDLL(f'{folder}/kernels.so')
        except OSError:
            raise OSError(f'{compiler[0]} makes no library that loads beside PyTorch: expected GCC on Linux') from None
        os.replace(f'{folder}/kernels.so', library)
    load.cache_clear()
    return library


def _run(command: list[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError as error:
        words = f'the C++ compiler {command[0]!r} does not start: {error.strerror}; install g++ or set CXX'
        raise OSError(words) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ['it says nothing']
        raise OSError(f'the C++ compiler {command[0]!r} fails: {next((s for s in lines if "error" in s), lines[0])}')


@functools.cache
def load() -> ctypes.CDLL | None:
    """Return the library for this processor, or None if it was not compiled."""
    try:
        return ctypes.CDLL(str(path()))
    except OSError:
        return None
