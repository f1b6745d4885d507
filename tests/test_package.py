"""The package's metadata agree with the pinned set, and wheel and source archive hold what they need."""

import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from setuptools.config.pyprojecttoml import read_configuration

import moganet

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path.name for path in ROOT.glob('moga*') if (path / '__init__.py').exists())
PROJECT = read_configuration(ROOT / 'pyproject.toml', expand=False)['project']
EXTRAS = PROJECT['optional-dependencies']


def normalized(name):
    return re.sub(r'[-_.]+', '-', name).lower()


def pinned():
    """{name: version} of requirements/."""
    lines = [line for path in (ROOT / 'requirements').glob('*.txt') for line in path.read_text().splitlines()]
    found = [line.partition(';')[0].strip().split('==') for line in lines if '==' in line and not line.startswith('#')]
    return {normalized(name): version for name, version in found}


def test_core_asks_for_torch_and_mmengine_only():
    assert sorted(Requirement(line).name for line in PROJECT['dependencies']) == ['onedl-mmengine', 'torch']


def test_extra_all_has_every_other_extra():
    (everything,) = (Requirement(line) for line in EXTRAS['all'])
    assert everything.name == PROJECT['name']
    assert everything.extras == set(EXTRAS) - {'all'}


def test_every_requirement_is_pinned_to_a_version_that_it_allows():
    versions = pinned()
    lines = [*PROJECT['dependencies'], *(line for name, lines in EXTRAS.items() if name != 'all' for line in lines)]
    requirements = [Requirement(line) for line in lines]
    assert {r.name for r in requirements if normalized(r.name) not in versions} == set()
    assert {str(r) for r in requirements if not r.specifier.contains(versions[normalized(r.name)])} == set()


def test_pythons_of_the_metadata_are_those_of_the_set_up():
    classified = {c.rpartition(' ')[2] for c in PROJECT['classifiers'] if re.search(r'Python :: 3\.\d+$', c)}
    assert classified == {'3.10', '3.11', '3.12'}
    assert PROJECT['requires-python'] == '>=3.10'
    assert '(3, 10) <= sys.version_info[:2] <= (3, 12)' in (ROOT / 'Makefile').read_text()


def test_packages_are_typed():
    assert [name for name in PACKAGES if not (ROOT / name / 'py.typed').is_file()] == []


@pytest.fixture(scope='module')
def archives(tmp_path_factory):
    """The names in the wheel and in the source archive, each without its top folder."""
    root = tmp_path_factory.mktemp('checkout')
    tracked = subprocess.run(['git', 'ls-files', '-z'], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, tracked.split('\0')):
        if name.split('/')[0] != 'tests' and (ROOT / name).is_file():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, root / name)
    script = "from setuptools import build_meta as b; b.build_wheel('dist'); b.build_sdist('dist')"
    subprocess.run([sys.executable, '-c', script], cwd=root, capture_output=True, check=True)
    (wheel,), (source,) = (root / 'dist').glob('*.whl'), (root / 'dist').glob('*.tar.gz')
    assert wheel.name == f'moganet-{moganet.__version__}-py3-none-any.whl'
    with zipfile.ZipFile(wheel) as whole, tarfile.open(source) as other:
        return set(whole.namelist()), {name.partition('/')[2] for name in other.getnames()}


def test_wheel_holds_every_module_kernel_and_marker_of_types(archives):
    wheel, _ = archives
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob('*')
        if path.suffix in ('.py', '.cpp', '.h', '.typed')
    }
    assert {'mogapose/expose/data/human_data.py', 'moganet/py.typed', 'moganet/ops/cpp/forward.cpp'} <= expected
    assert expected - wheel == set()
    assert {name for name in wheel if name.startswith(('tests/', 'configs/', 'tools/'))} == set()


def test_source_archive_holds_what_a_checkout_needs(archives):
    wheel, source = archives
    assert {name for name in wheel if 'dist-info' not in name} <= source
    assert {'pyproject.toml', 'Makefile', 'README.md', 'LICENSE', 'requirements/torch.txt'} <= source
    assert {'configs/cls/metafile.yml', 'configs/cls/moganet_xt.py', 'tools/train.py', 'tools/launch.sh'} <= source
