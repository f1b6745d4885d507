"""Installs mmcv with its compiled ops into the Python that runs this script; `make env` calls it.

mmcv comes as source. Its wheel is compiled once and cached in ${MOGANET_CACHE:-~/.cache/moganet}/wheels/. The wheel's
folder names Python, torch, and CPU or CUDA with the compute capabilities of the GPUs (cp311-torch2.11.0-cpu). The
script needs torch, requirements/build.txt, a C++ compiler, and nvcc for CUDA ops. It reads MAX_JOBS, CXX and
TORCH_CUDA_ARCH_LIST.

    .venv/bin/python tools/build_mmcv.py
"""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

REQUIREMENTS = Path(__file__).resolve().parents[1] / 'requirements/mmcv.txt'


def cache_folder() -> Path:
    """Return the folder of all caches of the project."""
    if os.environ.get('MOGANET_CACHE'):
        return Path(os.environ['MOGANET_CACHE']).expanduser().resolve()
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache') / 'moganet'


def find_nvcc() -> tuple[Path, str] | None:
    """Find a CUDA toolkit that has nvcc and the headers, without which nvcc compiles nothing.

    Returns:
        Folder and version, such as '13.0'; None if there is no toolkit.
    """
    nvcc = shutil.which('nvcc')
    folders = (os.environ.get('CUDA_HOME'), '/usr/local/cuda', nvcc and Path(nvcc).resolve().parents[1])
    for home in (Path(folder) for folder in folders if folder):
        if (home / 'bin/nvcc').exists() and (home / 'include/cuda_runtime.h').exists():
            text = subprocess.run([home / 'bin/nvcc', '--version'], capture_output=True, text=True).stdout
            if version := re.search(r'release (\d+\.\d+)', text):
                return home, version[1]
    return None


def choose_ops(cuda: str | None, archs: list[str], nvcc: tuple[Path, str] | None) -> tuple[str, dict[str, str], str]:
    """Choose between CPU and CUDA ops.

    Args:
        cuda: The CUDA version of torch if torch sees a GPU, else None.
        archs: Compute capabilities of the visible GPUs, such as '9.0'.
        nvcc: Folder and version of the CUDA toolkit.

    Returns:
        The name of the ops in the wheel's folder, the variables of the build, and a line for the user (may be '').
    """
    cpu = 'cpu', {'FORCE_CUDA': '0', 'CUDA_VISIBLE_DEVICES': ''}
    if cuda is None:
        return *cpu, ''
    if nvcc is None:
        return *cpu, 'torch sees a GPU, but no nvcc is in CUDA_HOME, /usr/local/cuda or PATH: mmcv gets CPU ops only'
    home, version = nvcc
    if version.split('.')[0] != cuda.split('.')[0]:
        return *cpu, f'torch is built for CUDA {cuda}, but {home}/bin/nvcc is {version}: mmcv gets CPU ops only'
    wanted = os.environ.get('TORCH_CUDA_ARCH_LIST') or ';'.join(archs)
    name = f'cu{cuda.replace(".", "")}-sm{re.sub("[^0-9A-Za-z]+", "_", wanted.replace(".", ""))}'
    return name, {'FORCE_CUDA': '1', 'CUDA_HOME': str(home), 'TORCH_CUDA_ARCH_LIST': wanted}, ''


def header_path(site_packages: Path, cuda: str) -> str:
    """Return CPATH for nvcc: a CUDA toolkit without the headers of its libraries then uses torch's copies."""
    headers = site_packages / f'nvidia/cu{cuda.split(".")[0]}/include'
    return os.pathsep.join(filter(None, [os.environ.get('CPATH'), str(headers) if headers.is_dir() else None]))


def wheel_folder(torch_version: str, ops: str) -> Path:
    """Return the cache folder of the wheel for this Python, a torch version and ops as ``choose_ops`` names them."""
    python = f'cp{sys.version_info[0]}{sys.version_info[1]}'
    return cache_folder() / 'wheels' / f'{python}-torch{torch_version.split("+")[0]}-{ops}'


def find_wheel(folder: Path, version: str) -> Path | None:
    """Find a complete wheel for this platform that has the ops. A build of mmcv can silently leave the ops out.

    Args:
        folder: The folder to search.
        version: Version of mmcv.

    Returns:
        The path of the wheel, or None.
    """
    platform = re.sub('[-.]', '_', sysconfig.get_platform())
    for wheel in sorted(folder.glob(f'onedl_mmcv-{version}-*{platform}.whl')):
        if zipfile.is_zipfile(wheel):
            with zipfile.ZipFile(wheel) as archive:
                if any(name.startswith('mmcv/_ext.') for name in archive.namelist()):
                    return wheel
    return None


def compile_jobs() -> int:
    """Return the number of compilers to run at once: one per core, at most one per 2 GB of memory."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, 'sched_getaffinity') else os.cpu_count() or 1
    memory = os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30
    return max(1, min(cores, int(memory / 2)))


def pip(*arguments: str | Path, **env: str) -> None:
    """Run pip of this Python with additional variables.

    Raises:
        subprocess.CalledProcessError: pip failed.
    """
    subprocess.run([sys.executable, '-m', 'pip', *arguments], env={**os.environ, **env}, check=True)


def build(folder: Path, version: str, env: dict[str, str]) -> Path:
    """Compile the wheel and move it into the folder when it is complete.

    Args:
        folder: The cache folder of the wheel.
        version: Version of mmcv.
        env: Variables of the build.

    Returns:
        The path of the wheel.

    Raises:
        RuntimeError: the wheel has no ops.
        subprocess.CalledProcessError: the build failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix='building-') as building:
        # No cache: pip cannot know the torch of a cached wheel. -v prints ninja's count.
        command = ('wheel', '-v', '--no-deps', '--no-build-isolation', '--no-cache-dir')
        pip(*command, '-w', building, '-r', REQUIREMENTS, **{'MAX_JOBS': str(compile_jobs()), **os.environ, **env})
        wheel = find_wheel(Path(building), version)
        if wheel is None:
            raise RuntimeError('mmcv was built without its compiled ops: there is no mmcv/_ext in the wheel')
        return wheel.replace(folder / wheel.name)


def pinned_version() -> str:
    """Return the version of mmcv in the requirements.

    Raises:
        ValueError: the requirements pin no version.
    """
    pin = re.search(r'^onedl-mmcv==(\S+)', REQUIREMENTS.read_text(), re.M)
    if pin is None:
        raise ValueError(f'{REQUIREMENTS} has no line onedl-mmcv==VERSION')
    return pin[1]


def main() -> int:
    """Install mmcv from the cached wheel, or compile the wheel first; return the exit status."""
    import torch

    version = pinned_version()
    gpus = range(torch.cuda.device_count() if torch.cuda.is_available() else 0)
    archs = sorted({'{}.{}'.format(*torch.cuda.get_device_capability(gpu)) for gpu in gpus})
    cuda = torch.version.cuda if gpus else None
    ops, env, note = choose_ops(cuda, archs, find_nvcc())
    if note:
        print('>>>', note, flush=True)
    if cuda and ops != 'cpu':
        env['CPATH'] = header_path(Path(torch.__file__).parents[1], cuda)
    folder = wheel_folder(torch.__version__, ops)
    try:
        wheel = find_wheel(folder, version)
        print(f'>>> using {wheel}' if wheel else f'>>> compiling into {folder}', flush=True)
        pip('install', '--no-deps', '--force-reinstall', wheel or build(folder, version, env))
    except (RuntimeError, OSError, subprocess.CalledProcessError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
