"""A run that stops and goes on ends with the same bits as one that never stopped."""

from functools import partial

import pytest
import torch
from mmengine.optim.optimizer import amp_optimizer_wrapper

from helpers.tool_runs import call, weights
from moganet.checkpoint import read_checkpoint, write_checkpoint

ITERATION_BASED = """
train_dataloader = dict(sampler=dict(type='InfiniteSampler', shuffle=True))
train_cfg = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=12, val_interval=2)
param_scheduler = [dict(type='CosineAnnealingLR', T_max=12, by_epoch=False)]
default_hooks = dict(checkpoint=dict(by_epoch=False, interval=6))
log_processor = dict(by_epoch=False)
"""


def assert_same(path_a, path_b):
    a, b = weights(path_a), weights(path_b)
    assert a.keys() == b.keys()
    assert len(a) > 300
    assert [name for name in a if not torch.equal(a[name], b[name])] == []


def test_epochs_go_on_bit_for_bit(tiny_runs, tmp_path):
    config, whole = tiny_runs()
    # A run that stopped after two of its four epochs left its second checkpoint.
    call('train', config, '--work-dir', tmp_path / 'rest', '--resume', whole / 'epoch_2.pth')
    assert not (tmp_path / 'rest/epoch_2.pth').exists()
    assert_same(whole / 'epoch_4.pth', tmp_path / 'rest/epoch_4.pth')


def test_iterations_go_on_bit_for_bit(tiny_config, tmp_path):
    config = tiny_config(ITERATION_BASED)
    call('train', config, '--work-dir', tmp_path / 'whole')
    call('train', config, '--work-dir', tmp_path / 'rest', '--resume', tmp_path / 'whole/iter_6.pth')
    assert_same(tmp_path / 'whole/iter_12.pth', tmp_path / 'rest/iter_12.pth')


def test_the_loss_scale_goes_on(tiny_config, tmp_path, monkeypatch):
    # MMEngine refuses mixed precision without a GPU, although PyTorch's scaler works on a CPU.
    monkeypatch.setattr(amp_optimizer_wrapper, 'is_cuda_available', lambda: True)
    monkeypatch.setattr(amp_optimizer_wrapper, 'GradScaler', partial(torch.amp.GradScaler, device='cpu'))
    monkeypatch.setattr('moganet.run.engine.adapt_to_hardware', lambda cfg: [])
    scaler = 'optim_wrapper = dict(loss_scale=dict(init_scale=64.0, growth_interval=2))'
    config = tiny_config(scaler.replace('dict(loss', "dict(type='AmpOptimWrapper', dtype='bfloat16', loss"))
    call('train', config, '--work-dir', tmp_path / 'whole')
    call('train', config, '--work-dir', tmp_path / 'rest', '--resume', tmp_path / 'whole/epoch_2.pth')
    scales = [
        read_checkpoint(tmp_path / path)['optimizer']['loss_scaler']['scale']
        for path in ('whole/epoch_2.pth', 'whole/epoch_4.pth', 'rest/epoch_4.pth')
    ]
    # Doubled every two of the three iterations an epoch has: 3 times in 6, 6 times in 12.
    assert scales == [64 * 2**3, 64 * 2**6, 64 * 2**6]
    assert_same(tmp_path / 'whole/epoch_4.pth', tmp_path / 'rest/epoch_4.pth')


def test_resume_alone_takes_the_last_checkpoint_of_the_run(tiny_runs, tmp_path):
    (config, whole), parts = tiny_runs(), tmp_path / 'parts'
    parts.mkdir()
    (parts / 'epoch_3.pth').write_bytes((whole / 'epoch_3.pth').read_bytes())
    (parts / 'last_checkpoint').write_text(str(parts / 'epoch_3.pth'))
    call('train', config, '--work-dir', parts, '--resume')
    assert_same(whole / 'epoch_4.pth', parts / 'epoch_4.pth')


def test_seeds_make_runs_equal_or_different(tiny_config, tmp_path):
    config = tiny_config('train_cfg = dict(max_epochs=1)')
    for name, seed in (('a', 1), ('b', 1), ('c', 2)):
        call('train', config, '--work-dir', tmp_path / name, '--seed', seed)
    assert_same(tmp_path / 'a/epoch_1.pth', tmp_path / 'b/epoch_1.pth')
    with pytest.raises(AssertionError):
        assert_same(tmp_path / 'a/epoch_1.pth', tmp_path / 'c/epoch_1.pth')


def test_resume_does_not_run_the_config_text_of_a_checkpoint(tiny_config, tmp_path):
    config, marker = tiny_config('train_cfg = dict(max_epochs=2)'), tmp_path / 'ran'
    call('train', config, '--work-dir', tmp_path / 'run')
    checkpoint = read_checkpoint(tmp_path / 'run/epoch_1.pth')
    checkpoint['meta']['config'] = f"open({str(marker)!r}, 'w')"
    write_checkpoint(checkpoint, tmp_path / 'evil.pth')
    call('train', config, '--work-dir', tmp_path / 'on', '--resume', tmp_path / 'evil.pth')
    assert (tmp_path / 'on/epoch_2.pth').exists()
    assert not marker.exists()
