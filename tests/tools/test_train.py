"""tools/train.py: its options, several processes, and one clear line for each mistake of a user."""

import os
import shutil
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from PIL import Image

from helpers.tool_runs import ROOT, call, run_tool
from moganet.checkpoint import read_checkpoint
from moganet.run import engine


def test_a_run_learns_logs_and_saves(tiny_runs):
    _, folder = tiny_runs()
    assert sorted(p.name for p in folder.glob('*.pth')) == [f'epoch_{i}.pth' for i in (1, 2, 3, 4)]
    meta = read_checkpoint(folder / 'epoch_4.pth')['meta']
    assert meta['dataset_meta']['classes'] == tuple('0123456789')
    assert (meta['epoch'], meta['iter'], meta['seed']) == (4, 12, 42)


def test_work_dir_defaults_to_the_name_of_the_config(tiny_config, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tiny_config('train_cfg = dict(max_epochs=1)')
    call('train', config)
    assert (tmp_path / 'work_dirs' / config.stem / 'epoch_1.pth').is_file()


def test_options_of_the_command_line_reach_the_run(tiny_config, tmp_path):
    call(
        'train',
        tiny_config(),
        '--work-dir',
        tmp_path / 'run',
        '--auto-scale-lr',
        '--seed',
        7,
        '--cfg-options',
        'train_cfg.max_epochs=1',
        'optim_wrapper.accumulative_counts=3',
        'optim_wrapper.clip_grad.max_norm=5',
    )
    checkpoint = read_checkpoint(tmp_path / 'run/epoch_1.pth')
    assert checkpoint['meta']['seed'] == 7
    assert {int(state['step']) for state in checkpoint['optimizer']['state'].values()} == {1}  # 3 batches, one step
    assert 'max_norm=5' in checkpoint['meta']['cfg']


def test_smoke_runs_any_recipe_on_mini_data(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    small = 'dict(embed_dims=(8,16,24,32),depths=(1,1,1,1),ffn_ratios=(2,2,2,2))'
    child = tmp_path / 'child.py'
    child.write_text(
        f"_base_ = '{ROOT}/configs/cls/moganet_s.py'\n"
        f'model = dict(backbone=dict(arch={small[:-1]}, _delete_=True)), head=dict(in_channels=32))\n'
    )
    call('train', child, '--smoke')
    checkpoint = read_checkpoint(tmp_path / 'work_dirs/child/epoch_1.pth')
    assert checkpoint['meta']['iter'] == 2
    assert checkpoint['state_dict']['head.fc.weight'].shape == (10, 32)


@pytest.mark.parametrize(
    ('dtype', 'has_bf16', 'expected', 'scale'),
    [
        ('auto', True, 'bfloat16', dict(enabled=False)),
        ('auto', False, 'float16', 'dynamic'),
        ('float16', True, 'float16', 'dynamic'),
        ('bfloat16', False, 'bfloat16', dict(enabled=False)),
    ],
)
def test_amp_prefers_bfloat16_where_the_gpu_has_it(monkeypatch, dtype, has_bf16, expected, scale):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda: has_bf16)
    cfg = Config(dict(optim_wrapper=dict(type='OptimWrapper')))
    engine.set_amp(cfg, dtype)
    assert cfg.optim_wrapper == dict(type='AmpOptimWrapper', dtype=expected, loss_scale=scale)


def test_amp_refuses_another_wrapper():
    with pytest.raises(ValueError, match='ApexOptimWrapper'):
        engine.set_amp(Config(dict(optim_wrapper=dict(type='ApexOptimWrapper'))), 'float16')


def test_without_cuda_norms_precision_and_backend_are_replaced_and_named(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    norm = dict(type='SyncBN', requires_grad=True)
    cfg = Config(
        dict(
            launcher='pytorch',
            model=dict(head=dict(norm_cfg=norm), extra=[dict(norm_cfg=dict(norm))]),
            optim_wrapper=dict(type='AmpOptimWrapper', loss_scale='dynamic', dtype='float16', accumulative_counts=2),
        )
    )
    notes = engine.adapt_to_hardware(cfg)
    assert notes == ['gloo between the processes', 'BN for SyncBN', 'float32 for mixed precision']
    assert cfg.model.head.norm_cfg.type == cfg.model.extra[0].norm_cfg.type == 'BN'
    assert cfg.env_cfg.dist_cfg.backend == 'gloo'
    assert cfg.optim_wrapper == dict(type='OptimWrapper', accumulative_counts=2)


def test_with_cuda_nothing_is_replaced(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    cfg = Config(dict(model=dict(norm_cfg=dict(type='SyncBN')), optim_wrapper=dict(type='AmpOptimWrapper')))
    assert engine.adapt_to_hardware(cfg) == []
    assert cfg.model.norm_cfg.type == 'SyncBN'


# tests/mogadet/test_dist.py checks the same of a detector in every run.
@pytest.mark.slow
def test_two_processes_train_as_one_with_twice_the_batch(tiny_config, tmp_path):
    # Norms keep their statistics, since each process would have its own; so does whatever else depends on chance.
    config = tiny_config(
        'model = dict(backbone=dict(norm_eval=True, drop_path_rate=0.0))',
        'custom_hooks = []',
        "fixed = [dict(type='LoadImageFromFile'), dict(type='Resize', scale=(32, 32)), "
        "dict(type='PackInputs', algorithm_keys=['num_classes'])]",
        'train_dataloader = dict(batch_size=4, dataset=dict(pipeline=fixed))',
        'train_cfg = dict(max_epochs=1)',
    )
    call('train', config, '--work-dir', tmp_path / 'one', '--cfg-options', 'train_dataloader.batch_size=8')
    environment = {**os.environ, 'PYTHON': sys.executable, 'OMP_NUM_THREADS': '1'}
    environment.pop('PORT', None)
    done = subprocess.run(
        ['bash', ROOT / 'tools/dist_train.sh', config, '2', '--work-dir', tmp_path / 'two'],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert 'gloo between the processes' in done.stdout + done.stderr
    one, two = (read_checkpoint(tmp_path / name / 'epoch_1.pth')['state_dict'] for name in ('one', 'two'))
    for name in one:
        assert torch.allclose(one[name].double(), two[name].double(), rtol=1e-4, atol=1e-5), name


@pytest.mark.parametrize('script', ['dist_train', 'dist_test', 'slurm_train', 'slurm_test'])
def test_launchers_say_how_they_are_called(script):
    done = subprocess.run(['bash', ROOT / f'tools/{script}.sh'], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith(f'usage: tools/{script}.sh ')


def test_launchers_pass_nodes_on_to_torchrun(tmp_path):
    fake = tmp_path / 'python'
    fake.write_text('#!/usr/bin/env bash\necho "$@"\n')
    fake.chmod(0o755)
    environment = dict(os.environ, PYTHON=str(fake), NNODES='2', NODE_RANK='1', MASTER_ADDR='10.0.0.1', PORT='1234')
    done = subprocess.run(
        ['bash', ROOT / 'tools/dist_test.sh', 'c.py', 'w.pth', '8', '--tta'],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (
        done.stdout.split()
        == (
            '-m torch.distributed.run --nnodes 2 --node-rank 1 --master-addr 10.0.0.1 --master-port 1234 '
            '--nproc-per-node 8 '
            f'{ROOT}/tools/test.py c.py w.pth --tta --launcher pytorch'
        ).split()
    )


def test_slurm_gets_the_gpus_that_were_asked_for(tmp_path):
    fake = tmp_path / 'srun'
    fake.write_text('#!/usr/bin/env bash\necho "$@"\n')
    fake.chmod(0o755)
    environment = dict(os.environ, PATH=f'{tmp_path}:{os.environ["PATH"]}', GPUS='4', PYTHON='py', SRUN_ARGS='-q a')
    done = subprocess.run(
        ['bash', ROOT / 'tools/slurm_train.sh', 'part', 'job', 'c.py', '--amp'],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (
        done.stdout.split()
        == (
            '-p part --job-name=job --gres=gpu:4 --ntasks=4 --ntasks-per-node=4 --cpus-per-task=5 --kill-on-bad-exit=1 '
            f'-q a py -u {ROOT}/tools/train.py c.py --amp --launcher slurm'
        ).split()
    )


def with_data(tmp_path, mini_cls):
    """A copy of a few mini images that a test may damage."""
    for split in ('train', 'val'):
        for digit in range(10):
            images = sorted((mini_cls / split / str(digit)).iterdir())[:2]
            target = tmp_path / 'mine' / split / str(digit)
            target.mkdir(parents=True)
            for image in images:
                shutil.copy(image, target)
    return tmp_path / 'mine'


MISTAKES = {
    'missing config': (['configs/cls/moganet_x.py'], ['configs/cls/moganet_x.py', 'does not exist', 'moganet_xt.py']),
    'misspelt key': (['CONFIG', '--cfg-options', 'optim_wraper.optimizer.lr=1'], ['optim_wraper', 'optim_wrapper']),
    'misspelt option': (['CONFIG', '--cfg-options', 'model.backbone.with_pc=True'], ['with_pc']),
    'misspelt type': (['CONFIG', '--cfg-options', 'model.backbone.type=MogaNt'], ['MogaNt', 'registry']),
    'no data': (['CONFIG', '--cfg-options', 'data_root=nowhere'], ['nowhere', 'train/<class>/*.jpg', 'data_root=DIR']),
    'wrong classes': (
        ['CONFIG', '--cfg-options', 'model.head.num_classes=7'],
        ['10 class folders', '7 classes', 'model.head.num_classes=10'],
    ),
    'no checkpoint': (['CONFIG', '--resume', 'gone.pth'], ['gone.pth', 'no such checkpoint']),
    'bad size': (['CONFIG', '--cfg-options', 'model.backbone.drop_path_rate=1.5'], ['drop_path_rate=1.5']),
}


@pytest.mark.parametrize('mistake', MISTAKES)
def test_mistakes_end_in_one_line(mistake, tiny_config, tmp_path, capsys):
    args, words = MISTAKES[mistake]
    config = tiny_config()
    args = [str(config) if arg == 'CONFIG' else arg for arg in args]
    assert run_tool('train', *args, '--work-dir', tmp_path / 'run') == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert '--debug' in error
    assert [word for word in words if word not in error] == []


def test_debug_shows_the_traceback(capsys):
    assert run_tool('train', 'configs/cls/moganet_x.py', '--debug') == 1
    assert 'Traceback' in capsys.readouterr().err
    assert run_tool('train', 'configs/cls/moganet_x.py') == 1
    assert 'Traceback' not in capsys.readouterr().err


def test_an_unknown_class_folder_is_named(tiny_config, tmp_path, mini_cls, capsys):
    data = with_data(tmp_path, mini_cls)
    (data / 'val/ten').mkdir()
    assert run_tool('train', tiny_config(), '--work-dir', tmp_path / 'run', '--cfg-options', f'data_root={data}') == 1
    assert "the class folder 'ten', which train has not" in capsys.readouterr().err


def test_an_unreadable_image_is_named(tiny_config, tmp_path, mini_cls, capsys):
    data = with_data(tmp_path, mini_cls)
    broken = next((data / 'train/3').iterdir())
    broken.write_bytes(broken.read_bytes()[:40])
    assert run_tool('train', tiny_config(), '--work-dir', tmp_path / 'run', '--cfg-options', f'data_root={data}') == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert str(broken) in error
    assert 'cannot be read as an image' in error


def test_an_unreadable_image_is_named_by_workers_too(tiny_config, tmp_path, mini_cls, capsys):
    data = with_data(tmp_path, mini_cls)
    broken = next((data / 'train/3').iterdir())
    broken.write_text('no image')
    assert (
        run_tool(
            'train',
            tiny_config(),
            '--work-dir',
            tmp_path / 'run',
            '--cfg-options',
            f'data_root={data}',
            'train_dataloader.num_workers=1',
        )
        == 1
    )
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert str(broken) in error
    assert 'cannot be read as an image' in error


def test_own_data_need_a_folder_and_a_number_of_classes(tmp_path, monkeypatch):
    for split, count in (('train', 6), ('val', 3)):
        for name in ('cat', 'dog'):
            folder = tmp_path / 'pets' / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.new('RGB', (40 + i, 50), (i * 30, 90, 200)).save(folder / f'{i}.jpg')
    monkeypatch.chdir(tmp_path)
    call(
        'train',
        ROOT / 'configs/cls/moganet_t_own_data.py',
        '--cfg-options',
        f'data_root={tmp_path}/pets',
        'model.head.num_classes=2',
        'val_evaluator.topk=1',
        'model.backbone.arch=xtiny',
        'model.head.in_channels=192',
        'model.backbone.init_cfg=None',
        'train_cfg.max_epochs=1',
        'train_dataloader.batch_size=4',
        'train_dataloader.num_workers=0',
        'val_dataloader.num_workers=0',
        'train_dataloader.persistent_workers=False',
        'val_dataloader.persistent_workers=False',
    )
    checkpoint = read_checkpoint(tmp_path / 'work_dirs/moganet_t_own_data/epoch_1.pth')
    assert checkpoint['meta']['dataset_meta']['classes'] == ('cat', 'dog')
    assert checkpoint['state_dict']['head.fc.weight'].shape == (2, 192)
