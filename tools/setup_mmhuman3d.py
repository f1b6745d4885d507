"""Installs MMHuman3D with mmcv 1 into .mmhuman3d/; the comparison with MMHuman3D imports from there first.

They cannot be in .venv: mmcv 1 and mmcv 2 have the same import name. Removing .mmhuman3d/ undoes the installation.

    .venv/bin/python tools/setup_mmhuman3d.py
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from moganet.io.files import atomic_directory

ROOT = Path(__file__).resolve().parents[1]
REQUIREMENTS = ROOT / 'tests/legacy_mmhuman3d/requirements.txt'
FOLDER = ROOT / '.mmhuman3d'
STAMP = 'installed.txt'


def stamp() -> str:
    """Return the text of the folder's stamp: Python's version and the requirements."""
    return f'# Python {sys.version_info[0]}.{sys.version_info[1]}\n{REQUIREMENTS.read_text()}'


def is_made(folder: Path = FOLDER) -> bool:
    """Return True if the folder is complete and its stamp is up to date."""
    return (folder / STAMP).is_file() and (folder / STAMP).read_text() == stamp()


def install(folder: Path = FOLDER) -> None:
    """Make the folder anew; it appears complete or not at all.

    Args:
        folder: The folder; an earlier installation in it is removed.

    Raises:
        subprocess.CalledProcessError: pip failed and has printed the reason.
        ValueError: the folder holds something else.
    """
    if (folder / STAMP).is_file():
        shutil.rmtree(folder)
    with atomic_directory(folder) as partial:
        # Not isolated: mmcv 1.6 builds with the setuptools of .venv, not with the newest. No cache: pip would reuse
        # this wheel without ops elsewhere.
        options = ('--no-deps', '--no-build-isolation', '--no-cache-dir')
        command: list[str | Path] = [
            sys.executable,
            '-m',
            'pip',
            'install',
            *options,
            '--target',
            partial,
            '-r',
            REQUIREMENTS,
        ]
        subprocess.run(command, env={**os.environ, 'MMCV_WITH_OPS': '0'}, check=True)
        (partial / STAMP).write_text(stamp())


def main() -> int:
    """Install MMHuman3D unless it is installed; return the exit status."""
    if is_made():
        return 0
    print(
        '>>> installing MMHuman3D 0.11.0, mmcv 1.6.1 and smplx (for non-commercial research only) into .mmhuman3d/',
        flush=True,
    )
    try:
        install()
    except (ValueError, OSError, subprocess.CalledProcessError) as error:
        print(f'error: {error}', file=sys.stderr)
        return 1
    return 0


if __name__ == '__main__':
    sys.exit(main())
