"""The report on the environment: problems, and the commands that correct them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from moganet import doctor

WELL = {
    **{name: {'ok': '1'} for name in doctor.PACKAGES},
    'ops': {'ok': 'not available'},
    'gpus': {'ok': []},
    'kernels': {'ok': True},
}
PINS = {'torch': ('2.11.0', 'torch'), 'numpy': ('2.2.6', 'wheels'), 'onedl-mmcv': ('2.3.6', 'mmcv')}


@pytest.fixture
def installed(monkeypatch):
    """The versions that look installed; a test changes them."""
    versions = {'torch': '2.11.0+cu130', 'numpy': '2.2.6', 'onedl-mmcv': '2.3.6'}
    monkeypatch.setattr(doctor, 'installed_version', versions.get)
    monkeypatch.setattr(doctor.sys, 'prefix', str(doctor.ROOT / '.venv'))
    return versions


def test_pins_are_those_of_this_python(tmp_path, monkeypatch):
    (tmp_path / 'torch.txt').write_text('# comment\ntorch==2.11.0\n')
    (tmp_path / 'openmmlab.txt').write_text('--no-binary x\nfvcore==0.1.5.post20221221\n')
    (tmp_path / 'dev.txt').write_text('tomli==2.5.0; python_version < "3.11"\n')
    pins = {'torch': ('2.11.0', 'torch'), 'fvcore': ('0.1.5.post20221221', 'openmmlab')}
    monkeypatch.setattr(doctor.sys, 'version_info', (3, 11, 0))
    assert doctor.read_pins(tmp_path) == pins
    monkeypatch.setattr(doctor.sys, 'version_info', (3, 10, 0))
    assert doctor.read_pins(tmp_path) == {**pins, 'tomli': ('2.5.0', 'wheels')}


def test_pins_cover_every_reported_package():
    assert set(doctor.PACKAGES.values()) <= set(doctor.read_pins(doctor.REQUIREMENTS))


def test_pinned_versions_with_a_local_part_are_well(installed):
    assert doctor.find_problems(PINS, WELL) == []


def test_missing_and_other_versions_name_the_step(installed):
    del installed['torch']
    installed['numpy'] = '1.26.4'
    assert doctor.find_problems(PINS, {**WELL, 'torch': {'error': 'ModuleNotFoundError'}}) == [
        ('numpy is 1.26.4, pinned is 2.2.6', 'make env FROM=wheels'),
        ('torch is missing, pinned is 2.11.0', 'make env FROM=torch'),
    ]


def test_ops_that_do_not_load_are_compiled_again(installed):
    answers = {**WELL, 'ops': {'error': 'ImportError: undefined symbol'}}
    assert doctor.find_problems(PINS, answers) == [
        ("mmcv's ops do not load: ImportError: undefined symbol", 'make env FROM=mmcv')
    ]


def test_package_that_does_not_import_is_set_up_anew(installed):
    answers = {**WELL, 'mmdet': {'error': 'ImportError: x'}, 'ops': {'error': 'the same'}}
    assert doctor.find_problems(PINS, answers) == [
        ('mmdet does not import: ImportError: x', 'rm -rf .venv && make env')
    ]


@pytest.mark.parametrize(('rival', 'step'), [('opencv-python', 'wheels'), ('mmcv', 'openmmlab')])
def test_rival_distribution_is_named(installed, rival, step):
    installed[rival] = '1.0'
    (problem,) = doctor.find_problems(PINS, WELL)
    assert problem[0] == f'{rival} is installed and writes over files of the pinned packages'
    assert problem[1] == f'{sys.executable} -m pip uninstall -y {rival} && make env FROM={step}'


def test_another_environment_is_sent_to_the_set_up_one(installed, monkeypatch):
    installed['numpy'] = '1.26.4'
    monkeypatch.setattr(doctor.sys, 'prefix', '/somewhere/else')
    (problem,) = doctor.find_problems(PINS, WELL)
    assert problem[1] == f'make env, then use {doctor.ROOT}/.venv/bin/python'


def test_crash_on_import_is_an_answer_for_what_came_after(tmp_path, monkeypatch):
    (tmp_path / 'first.py').write_text('__version__ = "1.2"')
    (tmp_path / 'second.py').write_text('import os; os._exit(9)')
    monkeypatch.setenv('PYTHONPATH', str(tmp_path))
    monkeypatch.setattr(doctor, 'PACKAGES', ('first', 'second', 'third'))
    answers = doctor.ask_packages(sys.executable)
    assert answers['first'] == {'ok': '1.2'}
    assert answers['second'] == answers['third'] == {'error': 'Python died (status 9) on this import or the one before'}


def test_doctor_speaks_where_nothing_is_installed(tmp_path):
    for path in ('moganet', 'requirements'):
        (tmp_path / path).mkdir()
    shutil.copy(doctor.__file__, tmp_path / 'moganet')
    (tmp_path / 'requirements/torch.txt').write_text('torch==2.11.0\n')
    base = Path(sys.base_prefix, 'bin', f'python3.{sys.version_info[1]}')
    env = {name: value for name, value in os.environ.items() if not name.startswith('PYTHON')}
    command = [base, '-S', tmp_path / 'moganet/doctor.py']
    report = subprocess.run(command, env=env, capture_output=True, text=True)
    assert report.returncode == 1, report.stderr
    assert report.stdout.endswith('not set up, or not whole\n    make env\n')


@pytest.mark.parametrize(('there', 'words'), [(True, 'compiled'), (False, 'not compiled: moganet kernels does it')])
def test_the_report_says_whether_kernels_are_compiled(there, words):
    assert ('CPU kernels', words) in doctor.describe_machine({**WELL, 'kernels': {'ok': there}})
