"""The folder with MMHuman3D appears complete, once, and replaces nothing else."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
spec = importlib.util.spec_from_file_location('setup_mmhuman3d', ROOT / 'tools/setup_mmhuman3d.py')
setup_mmhuman3d = importlib.util.module_from_spec(spec)
spec.loader.exec_module(setup_mmhuman3d)


@pytest.fixture
def pip(monkeypatch):
    """Replace pip: record its calls, and put a package into the target folder."""
    calls = []

    def run(command, env, check):
        calls.append(([str(part) for part in command], env))
        folder = Path(command[command.index('--target') + 1])
        (folder / 'mmcv').mkdir()
        if len(calls) > 3:
            raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(setup_mmhuman3d.subprocess, 'run', run)
    return calls


def test_folder_appears_whole(pip, tmp_path):
    folder = tmp_path / '.mmhuman3d'
    assert not setup_mmhuman3d.is_made(folder)
    setup_mmhuman3d.install(folder)
    assert setup_mmhuman3d.is_made(folder)
    assert [path.name for path in tmp_path.iterdir()] == ['.mmhuman3d']
    ((command, env),) = pip
    assert command[:4] == [sys.executable, '-m', 'pip', 'install']
    assert '--no-deps' in command
    assert env['MMCV_WITH_OPS'] == '0'


def test_folder_of_other_requirements_is_made_anew(pip, tmp_path):
    folder = tmp_path / '.mmhuman3d'
    setup_mmhuman3d.install(folder)
    (folder / 'installed.txt').write_text('mmcv==1.5.0')
    (folder / 'stale').touch()
    assert not setup_mmhuman3d.is_made(folder)
    setup_mmhuman3d.install(folder)
    assert setup_mmhuman3d.is_made(folder)
    assert not (folder / 'stale').exists()


def test_nothing_is_left_of_a_failed_install(pip, tmp_path):
    pip.extend([None] * 3)
    with pytest.raises(subprocess.CalledProcessError):
        setup_mmhuman3d.install(tmp_path / '.mmhuman3d')
    assert not list(tmp_path.iterdir())


def test_folder_of_somebody_else_is_left_alone(pip, tmp_path):
    (tmp_path / 'mine').touch()
    with pytest.raises(ValueError, match='is something else'):
        setup_mmhuman3d.install(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ['mine']
    assert not pip
