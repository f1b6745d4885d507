"""A resumed run on generated clips ends bit for bit like an uninterrupted one, with any number of workers."""

import torch

from helpers.tool_runs import call, weights


def test_clips_go_on_where_they_stopped(tiny_cfg, tmp_path):
    tiny_cfg.default_hooks.checkpoint.max_keep_ckpts = -1
    tiny_cfg.val_dataloader.dataset.indices = 2
    config = tmp_path / 'tiny.py'
    tiny_cfg.dump(config)
    call('train', config, '--work-dir', tmp_path / 'whole')
    call(
        'train',
        config,
        '--work-dir',
        tmp_path / 'rest',
        '--resume',
        tmp_path / 'whole/epoch_1.pth',
        '--cfg-options',
        'train_dataloader.num_workers=2',
    )
    whole, rest = weights(tmp_path / 'whole/epoch_2.pth'), weights(tmp_path / 'rest/epoch_2.pth')
    first = weights(tmp_path / 'whole/epoch_1.pth')
    assert whole.keys() == rest.keys()
    assert len(whole) > 100
    assert [name for name in whole if not torch.equal(whole[name], rest[name])] == []
    assert any(not torch.equal(whole[name], first[name]) for name in whole)
