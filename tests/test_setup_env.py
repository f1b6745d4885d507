"""Logic of the set-up: the order and repetition of steps, the message of a failure, the choice of mmcv's wheel."""

import importlib.util
import io
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def load_tool(name):
    spec = importlib.util.spec_from_file_location(name, ROOT / f'tools/{name}.py')
    module = importlib.util.module_from_spec(spec)
    # A dataclass looks its module up by name.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


setup_env = load_tool('setup_env')
build_mmcv = load_tool('build_mmcv')


class Recipe:
    """Four steps that only note that they ran; `fail` maps a step to the exception that it raises."""

    def __init__(self, root):
        self.root, self.ran, self.again, self.fail = root, [], {}, {}
        (root / 'torch.txt').write_text('torch==1')
        self.steps = (
            setup_env.Step('venv', 'makes .venv', self.work('venv')),
            setup_env.Step('torch', 'downloads', self.work('torch'), ('torch.txt',), 'torch.py'),
            setup_env.Step('mmcv', 'compiles', self.work('mmcv')),
            setup_env.Step('moganet', 'links', self.work('moganet')),
        )

    def work(self, name):
        def step(job):
            self.ran.append(name)
            self.again[name] = job.again
            job.log.write_text(f'log of {name}\n')
            if name in self.fail:
                raise self.fail[name]
            site = self.root / f'.venv/lib/python{setup_env.THIS_PYTHON}/site-packages'
            site.mkdir(parents=True, exist_ok=True)
            (self.root / '.venv/bin').mkdir(exist_ok=True)
            (self.root / '.venv/bin/python').touch()
            (site / f'{name}.py').touch()

        return step

    def __call__(self):
        """Runs the set-up once; returns its status and the steps that ran."""
        self.ran.clear()
        return setup_env.run_steps(self.steps, self.root, setup_env.Screen(io.StringIO())), list(self.ran)


@pytest.fixture
def recipe(tmp_path):
    return Recipe(tmp_path)


def test_steps_run_in_order_and_only_once(recipe):
    assert recipe() == (0, ['venv', 'torch', 'mmcv', 'moganet'])
    assert recipe() == (0, [])


def test_steps_go_on_at_the_failed_one(recipe, capsys):
    recipe.fail = {'mmcv': setup_env.SetupError('the compiler died')}
    assert recipe() == (1, ['venv', 'torch', 'mmcv'])
    said = capsys.readouterr().err
    assert 'Set-up stopped at step [3/4] mmcv: the compiler died' in said
    assert '    log of mmcv\n' in said
    assert f'The whole log: {recipe.root}/.venv/setup/mmcv.log' in said
    assert 'call the same command again; it continues at this step' in said
    recipe.fail = {}
    assert recipe() == (0, ['mmcv', 'moganet'])
    assert recipe.again == dict.fromkeys(['venv', 'torch', 'mmcv', 'moganet'], False)


def test_steps_install_anew_what_was_killed_half_way(recipe):
    recipe.fail = {'torch': KeyboardInterrupt()}
    assert recipe() == (130, ['venv', 'torch'])
    recipe.fail = {}
    assert recipe() == (0, ['torch', 'mmcv', 'moganet'])
    assert recipe.again == {'venv': False, 'torch': True, 'mmcv': False, 'moganet': False}


def test_steps_install_anew_what_was_deleted(recipe):
    recipe()
    (recipe.root / f'.venv/lib/python{setup_env.THIS_PYTHON}/site-packages/torch.py').unlink()
    assert recipe() == (0, ['torch', 'mmcv', 'moganet'])
    assert recipe.again['torch']


def test_steps_start_over_without_a_python(recipe):
    recipe()
    (recipe.root / '.venv/bin/python').unlink()
    assert recipe()[1] == ['venv', 'torch', 'mmcv', 'moganet']


def test_steps_repeat_from_a_changed_file(recipe):
    recipe()
    (recipe.root / 'torch.txt').write_text('torch==2')
    assert recipe() == (0, ['torch', 'mmcv', 'moganet'])


def test_steps_repeat_all_for_another_python(recipe, monkeypatch):
    recipe()
    monkeypatch.setattr(setup_env, 'THIS_PYTHON', '3.99')
    assert recipe()[1] == ['venv', 'torch', 'mmcv', 'moganet']


def test_steps_link_a_copied_checkout_only(recipe, tmp_path_factory):
    recipe()
    recipe.root = shutil.copytree(recipe.root, tmp_path_factory.mktemp('copy') / 'checkout')
    assert recipe() == (0, ['moganet'])


def test_from_repeats_a_step_and_those_after_it(recipe):
    recipe()
    setup_env.repeat_from(recipe.steps, 'mmcv', recipe.root)
    assert recipe() == (0, ['mmcv', 'moganet'])
    assert recipe.again['mmcv']


def test_from_names_the_steps_for_an_unknown_one(recipe):
    with pytest.raises(ValueError, match="'mcv'; the steps are venv, torch, mmcv, moganet"):
        setup_env.repeat_from(recipe.steps, 'mcv', recipe.root)


def test_failure_shows_the_first_error_and_the_likely_cause(tmp_path):
    log = tmp_path / 'mmcv.log'
    log.write_text('\n'.join(['fatal error: x.h: No space left on device', *(f'line {i}' for i in range(50))]))
    said = setup_env.failure('[5/7] mmcv', 'status 1', log).splitlines()
    assert said[2:5] == ['    fatal error: x.h: No space left on device', '    ...', '    line 38']
    assert 'Likely: the disk is full: free some space.' in said


def test_screen_prints_every_tenth_file_without_a_terminal():
    screen = setup_env.Screen(io.StringIO())
    for number in range(1, 22):
        screen.state(f'compiled {number}/78')
    assert screen.stream.getvalue().split() == ['compiled', '10/78', 'compiled', '20/78']


@pytest.fixture
def job(tmp_path):
    (tmp_path / '.venv/setup').mkdir(parents=True)
    return setup_env.Job(tmp_path, 'torch', setup_env.Screen(io.StringIO()))


def test_job_logs_its_command_and_reports_the_status(job):
    with pytest.raises(setup_env.SetupError, match='ended with status 3'):
        job.run(sys.executable, '-c', 'print("[7/78] cc"); print(">>> hint"); raise SystemExit(3)')
    assert job.log.read_text().startswith(f'$ {sys.executable} -c ')
    assert job.log.read_text().endswith('[7/78] cc\n>>> hint\n')
    assert job.screen.stream.getvalue() == '      hint\n'


def test_job_keeps_foreign_packages_out(job, monkeypatch):
    monkeypatch.setenv('PYTHONPATH', '/elsewhere')
    monkeypatch.setenv('PIP_USER', '1')
    job.run(sys.executable, '-c', 'import os; print(os.environ.get("PYTHONPATH"), os.environ.get("PIP_USER"))')
    assert job.log.read_text().endswith('None None\n')
    assert setup_env.build_environment(job.venv)['PATH'].startswith(f'{job.venv}/bin{os.pathsep}')


def test_stop_ends_a_command_that_waits():
    child = subprocess.Popen(
        [sys.executable, '-c', 'input()'], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True
    )
    with child:
        setup_env.stop(child)
        assert child.returncode not in (None, 0)


def test_main_refuses_another_python_in_one_line(monkeypatch, capsys):
    monkeypatch.setattr(setup_env, 'THIS_PYTHON', '3.9')
    assert setup_env.main([]) == 1
    said = capsys.readouterr().err
    assert said == (
        'Cannot set up: this is Python 3.9, supported are 3.10, 3.11, 3.12: make env PYTHON=/path/to/python3.11\n'
    )


def test_machine_without_room_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(setup_env.shutil, 'disk_usage', lambda path: shutil._ntuple_diskusage(9e9, 7e9, 2e9))
    assert setup_env.disk_problem(tmp_path).startswith(f'2.0 GB are free on the disk of {tmp_path}')
    assert setup_env.machine_problem(setup_env.STEPS[5:], tmp_path) == ''


def test_machine_without_compiler_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv('CXX', '/nowhere/c++')
    assert setup_env.compiler_problem().startswith("the C++ compiler '/nowhere/c++' does not start")
    monkeypatch.delenv('CXX')
    monkeypatch.setenv('PATH', str(tmp_path))
    assert setup_env.compiler_problem().startswith('no C++ compiler')


@pytest.mark.skipif(shutil.which('c++') is None, reason='needs a C++ compiler')
def test_machine_without_headers_is_named(monkeypatch, tmp_path):
    monkeypatch.setattr(setup_env.sysconfig, 'get_paths', lambda: {'include': str(tmp_path)})
    assert setup_env.compiler_problem().startswith(f'no Python.h in {tmp_path}')


def test_venv_of_somebody_else_is_left_alone(tmp_path):
    assert not setup_env.unknown_venv(tmp_path)
    (tmp_path / '.venv/bin').mkdir(parents=True)
    (tmp_path / '.venv/bin/python').touch()
    assert not setup_env.unknown_venv(tmp_path)
    (tmp_path / '.venv/pyvenv.cfg').touch()
    assert setup_env.unknown_venv(tmp_path)
    (tmp_path / '.venv/setup').mkdir()
    assert not setup_env.unknown_venv(tmp_path)


def test_ops_are_for_the_cpu_without_a_gpu():
    assert build_mmcv.choose_ops(None, [], (Path('/cuda'), '13.0')) == (
        'cpu',
        {'FORCE_CUDA': '0', 'CUDA_VISIBLE_DEVICES': ''},
        '',
    )


@pytest.mark.parametrize(
    ('nvcc', 'reason'), [(None, 'no nvcc'), ((Path('/cuda'), '12.4'), 'CUDA 13.0, but /cuda/bin/nvcc is 12.4')]
)
def test_ops_are_for_the_cpu_where_cuda_cannot_compile(nvcc, reason):
    name, variables, note = build_mmcv.choose_ops('13.0', ['9.0'], nvcc)
    assert (name, variables['FORCE_CUDA']) == ('cpu', '0')
    assert reason in note
    assert 'CPU ops only' in note


def test_ops_are_for_the_gpus_that_torch_sees(monkeypatch):
    monkeypatch.delenv('TORCH_CUDA_ARCH_LIST', raising=False)
    name, variables, note = build_mmcv.choose_ops('13.0', ['8.0', '9.0'], (Path('/cuda'), '13.2'))
    assert (name, note) == ('cu130-sm80_90', '')
    assert variables == {'FORCE_CUDA': '1', 'CUDA_HOME': '/cuda', 'TORCH_CUDA_ARCH_LIST': '8.0;9.0'}
    monkeypatch.setenv('TORCH_CUDA_ARCH_LIST', '9.0+PTX')
    assert build_mmcv.choose_ops('13.0', ['8.0'], (Path('/cuda'), '13.0'))[0] == 'cu130-sm90_PTX'


def test_headers_of_torch_follow_the_users_own(tmp_path, monkeypatch):
    monkeypatch.setenv('CPATH', '/own')
    assert build_mmcv.header_path(tmp_path, '13.0') == '/own'
    (tmp_path / 'nvidia/cu13/include').mkdir(parents=True)
    assert build_mmcv.header_path(tmp_path, '13.0') == f'/own{os.pathsep}{tmp_path}/nvidia/cu13/include'
    monkeypatch.delenv('CPATH')
    assert build_mmcv.header_path(tmp_path, '13.0') == f'{tmp_path}/nvidia/cu13/include'


def test_wheel_folder_names_python_torch_and_ops(monkeypatch):
    name = f'cp3{sys.version_info[1]}-torch2.11.0-cpu'
    monkeypatch.setenv('XDG_CACHE_HOME', '/xdg')
    monkeypatch.delenv('MOGANET_CACHE', raising=False)
    assert build_mmcv.wheel_folder('2.11.0+cu130', 'cpu') == Path('/xdg/moganet/wheels') / name
    monkeypatch.setenv('MOGANET_CACHE', '/own')
    assert build_mmcv.wheel_folder('2.11.0', 'cpu') == Path('/own/wheels') / name
    monkeypatch.delenv('MOGANET_CACHE')
    monkeypatch.delenv('XDG_CACHE_HOME')
    assert build_mmcv.wheel_folder('2.11.0', 'cpu') == Path.home() / '.cache/moganet/wheels' / name


def write_wheel(folder, platform=None, content='mmcv/_ext.so'):
    platform = platform or sysconfig.get_platform().replace('-', '_').replace('.', '_')
    path = Path(folder) / f'onedl_mmcv-2.3.6-cp311-cp311-{platform}.whl'
    with zipfile.ZipFile(path, 'w') as archive:
        archive.writestr('mmcv/__init__.py', '')
        archive.writestr(content, 'x' * 1000)
    return path


def test_wheel_is_found_whole_and_with_ops_only(tmp_path):
    assert build_mmcv.find_wheel(tmp_path / 'missing', '2.3.6') is None
    write_wheel(tmp_path, platform='other_machine')
    assert build_mmcv.find_wheel(tmp_path, '2.3.6') is None
    write_wheel(tmp_path, content='mmcv/ops/nms.py')
    assert build_mmcv.find_wheel(tmp_path, '2.3.6') is None
    wheel = write_wheel(tmp_path)
    assert build_mmcv.find_wheel(tmp_path, '2.3.6') == wheel
    assert build_mmcv.find_wheel(tmp_path, '2.3.7') is None
    wheel.write_bytes(wheel.read_bytes()[:-40])
    assert build_mmcv.find_wheel(tmp_path, '2.3.6') is None


def test_build_moves_the_finished_wheel_into_the_cache(tmp_path, monkeypatch):
    calls = []

    def pip(*arguments, **env):
        calls.append((arguments, env))
        write_wheel(arguments[arguments.index('-w') + 1])

    monkeypatch.setattr(build_mmcv, 'pip', pip)
    monkeypatch.setenv('MAX_JOBS', '7')
    wheel = build_mmcv.build(tmp_path / 'cpu', '2.3.6', {'FORCE_CUDA': '0'})
    assert list((tmp_path / 'cpu').iterdir()) == [wheel]
    arguments, env = calls[0]
    assert {'--no-deps', '--no-build-isolation', '--no-cache-dir'} <= set(arguments)
    assert (env['MAX_JOBS'], env['FORCE_CUDA']) == ('7', '0')


def test_build_without_ops_is_an_error_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(build_mmcv, 'pip', lambda *a, **_: write_wheel(a[a.index('-w') + 1], content='mmcv/ops/nms.py'))
    with pytest.raises(RuntimeError, match='without its compiled ops'):
        build_mmcv.build(tmp_path, '2.3.6', {})
    assert list(tmp_path.iterdir()) == []


def read_requirements():
    for file in sorted((ROOT / 'requirements').glob('*.txt')):
        for line in file.read_text().splitlines():
            if line and not line.startswith(('#', '--no-binary ')):
                yield line


def test_requirements_are_pinned_once_each():
    names = [line.split('==')[0].lower().replace('_', '-') for line in read_requirements()]
    assert all('==' in line for line in read_requirements())
    assert len(names) == len(set(names))
    assert 'opencv-python-headless' in names
    assert 'opencv-python' not in names
    # The old names of what the onedl packages hold: both write the same files.
    assert not {'mmcv', 'mmcv-full', 'mmengine', 'mmdet', 'mmpretrain', 'mmsegmentation', 'mim', 'openmim'} & set(names)


def command_environment(folder):
    """Commands of a folder first, and nothing of the make that may have started these tests."""
    env = {
        name: value
        for name, value in os.environ.items()
        if name != 'PYTHON' and 'MAKE' not in name and name != 'MFLAGS'
    }
    return {**env, 'PATH': f'{folder}{os.pathsep}{os.environ["PATH"]}'}


def test_make_takes_the_first_python_that_will_do(tmp_path):
    shutil.copy(ROOT / 'Makefile', tmp_path)
    for name, works in (('python3', False), ('python3.11', False), ('python3.12', True), ('python3.10', True)):
        (tmp_path / name).write_text(f'#!/bin/sh\nexit {0 if works else 1}\n')
        (tmp_path / name).chmod(0o755)
    env = command_environment(tmp_path)

    def dry_run(*arguments):
        command = ['make', '-n', 'env', *arguments]
        return subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout

    assert dry_run().splitlines()[-1].strip() == 'python3.12 tools/setup_env.py'
    assert dry_run('PYTHON=/own/python').splitlines()[-1].strip() == '/own/python tools/setup_env.py'
    assert dry_run('FROM=mmcv').splitlines()[-1].strip() == 'python3.12 tools/setup_env.py --from mmcv'


def test_make_help_lists_every_target(tmp_path):
    env = command_environment(tmp_path)
    listed = subprocess.run(['make', 'help'], cwd=ROOT, env=env, capture_output=True, text=True, check=True).stdout
    phony = next(line for line in (ROOT / 'Makefile').read_text().splitlines() if line.startswith('.PHONY: '))
    assert [line.split()[1] for line in listed.splitlines() if line.startswith('  make ')] == phony.split()[1:]


def test_ci_runs_check_and_test_in_the_checkout(tmp_path):
    (tmp_path / 'make').write_text('#!/bin/sh\necho "$PWD $*"\n')
    (tmp_path / 'make').chmod(0o755)
    env = command_environment(tmp_path)
    said = subprocess.run([ROOT / '.ci/run'], cwd=tmp_path, env=env, capture_output=True, text=True, check=True).stdout
    assert said.split() == [str(ROOT), 'check', 'test']


def test_kernels_that_do_not_compile_end_no_set_up(recipe, monkeypatch):
    said = io.StringIO()
    job = setup_env.Job(recipe.root, 'kernels', setup_env.Screen(said))

    def fail(*command):
        raise setup_env.SetupError('no')

    monkeypatch.setattr(job, 'run', fail)
    setup_env.compile_kernels(job)
    assert 'not compiled, PyTorch computes instead' in said.getvalue()
    assert 'kernels.log' in said.getvalue()
    assert {'moganet/ops/cpp/ffn.cpp', 'moganet/ops/cpp/vectors.h'} <= set(setup_env.KERNELS)
