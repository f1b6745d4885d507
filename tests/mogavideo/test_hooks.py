"""tools/test.py draws clips and curves on request, and writes the curves as numbers."""

import json

import pytest
import torch
from mmengine.registry import MODELS

from helpers.tool_runs import call
from mogavideo import hooks
from mogavideo.hooks import DrawClips


@pytest.fixture
def checkpoint(tiny_cfg, tmp_path):
    torch.save(dict(state_dict=MODELS.build(tiny_cfg.model).state_dict()), tmp_path / 'w.pth')
    tiny_cfg.default_hooks.visualization.interval = 2
    tiny_cfg.dump(tmp_path / 'tiny.py')
    return tmp_path / 'w.pth'


def test_testing_draws_every_so_many_clips_and_the_curves(checkpoint, tmp_path):
    call('test', tmp_path / 'tiny.py', checkpoint, '--show-dir', tmp_path / 'shown', '--out', tmp_path / 'm.json')
    assert sorted(path.name for path in (tmp_path / 'shown').iterdir()) == sorted(
        ['curves.png', *(f'clip_{i:05d}.{suffix}' for i in (0, 2, 4) for suffix in ('png', 'gif'))]
    )
    metrics = json.loads((tmp_path / 'm.json').read_text())
    assert len(metrics['video/mse_per_frame']) == 10
    assert metrics['video/mse'] == pytest.approx(sum(metrics['video/mse_per_frame']) / 10)


def test_testing_draws_nothing_unless_asked(checkpoint, tmp_path):
    call('test', tmp_path / 'tiny.py', checkpoint)
    assert not list(tmp_path.rglob('clip_*'))


def test_processes_number_the_clips_that_they_have(tmp_path, monkeypatch):
    monkeypatch.setattr(hooks, 'get_dist_info', lambda: (1, 2))
    hook = DrawClips(enable=True, out_dir=str(tmp_path))
    hook.before_test_epoch(None)
    clip = dict.fromkeys(('inputs', 'prediction', 'target'), torch.zeros(2, 1, 8, 8))
    hook.after_test_iter(None, 0, outputs=[clip, clip])
    hook.after_test_epoch(None, {'video/mse_per_frame': [1.0]})
    assert sorted(path.name for path in tmp_path.glob('*.png')) == ['clip_00001.png', 'clip_00003.png']
