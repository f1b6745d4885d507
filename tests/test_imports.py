"""Imports of the packages in one fresh interpreter: the modules that each loads, and the checks that it registers."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MM_PACKAGES = {'mmcv', 'mmdet', 'mmseg', 'mmpose', 'mmpretrain'}
# In this order, so that a module which a package must not load is not there yet.
WITHOUT_MM = ('moganet', 'mogapose', 'mogapose.expose', 'mogavideo')
PACKAGES = (*WITHOUT_MM, 'mogapose.topdown', 'mogaseg', 'mogadet')
CHECKS = {
    'mogapose.expose': ['check_expose'],
    'mogavideo': ['check_video'],
    'mogapose.topdown': ['check_pose'],
    'mogaseg': ['check_segmentation'],
    'mogadet': ['check_detection'],
}
SCRIPT = """
import contextlib, importlib, io, json, sys
found = {}
for package in sys.argv[1:]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        importlib.import_module(package)
    preflight = sys.modules.get('moganet.run.preflight')
    found[package] = dict(
        modules=sorted(name for name in sys.modules if '.' not in name),
        checks=[check.__name__ for check in preflight._CHECKS] if preflight else [],
        printed=printed.getvalue())
print(json.dumps(found))
"""


@pytest.fixture(scope='module')
def imported():
    """{package: modules at the top level, registered checks and printed text} after its import."""
    command = [sys.executable, '-c', SCRIPT, *PACKAGES]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT)
    return json.loads(done.stdout.splitlines()[-1])


def test_the_core_pose_expose_and_video_load_no_mm_package(imported):
    for package in WITHOUT_MM:
        assert package.partition('.')[0] in imported[package]['modules']
        heavy = MM_PACKAGES if package == 'mogavideo' else MM_PACKAGES | {'torchvision', 'matplotlib'}
        assert set(imported[package]['modules']) & heavy == set(), package
        assert imported[package]['printed'] == '', package


def test_importing_a_task_registers_its_check(imported):
    before = []
    for package in PACKAGES:
        checks = imported[package]['checks']
        assert [name for name in checks if name not in before] == CHECKS.get(package, []), package
        before = checks
