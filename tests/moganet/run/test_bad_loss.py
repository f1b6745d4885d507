"""A loss that is not finite stops the run in every process, and the last good checkpoint stays."""

import os
import subprocess
import sys

import pytest
import torch
from mmengine.hooks import Hook
from mmengine.registry import HOOKS

from helpers.tool_runs import ROOT, run_tool
from moganet.checkpoint import read_checkpoint

# Adds Inf to the loss of one iteration, or NaN to the weights after it. Iterations count from 1.
SPOILER = """
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS, MODELS

import mogacls
from mmpretrain.models import ImageClassifier


@MODELS.register_module(force=True)
class SpoiltClassifier(ImageClassifier):
    def __init__(self, at, rank=0, **kwargs):
        super().__init__(**kwargs)
        self.at, self.rank, self.calls = at, rank, 0

    def loss(self, *args):
        self.calls += 1
        spoilt = self.calls == self.at and get_rank() == self.rank
        losses = super().loss(*args)
        return dict(loss_class=losses['loss'], loss_extra=losses['loss'] * (float('inf') if spoilt else 0))
"""


@HOOKS.register_module(force=True)
class SpoilWeights(Hook):
    """Make one weight NaN in the iteration ``at``, after the check of its loss."""

    def __init__(self, at: int):
        self.at = at

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None) -> None:
        if runner.iter + 1 == self.at:
            with torch.no_grad():
                runner.model.backbone.norm4.weight[0] = float('nan')


SpoilWeights.priority = 'VERY_HIGH'


def readable(path) -> bool:
    """Return whether a checkpoint exists, loads safely and holds finite numbers only."""
    return all(torch.isfinite(value).all() for value in read_checkpoint(path)['state_dict'].values())


@pytest.fixture
def spoilt_config(tiny_config, tmp_path, monkeypatch):
    """A config of 4 epochs of 3 iterations whose second loss is infinite in one of them."""
    (tmp_path / 'spoiler.py').write_text(SPOILER)
    monkeypatch.syspath_prepend(tmp_path)

    def write(at, rank=0):
        return tiny_config(
            "custom_imports = dict(imports=['mogacls', 'spoiler'])",
            f"model = dict(type='SpoiltClassifier', at={at}, rank={rank})",
        )

    yield write
    sys.modules.pop('spoiler', None)


def test_infinite_loss_stops_with_iteration_and_name(spoilt_config, tmp_path, capsys):
    assert run_tool('train', spoilt_config(at=5), '--work-dir', tmp_path / 'run') == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: iteration 5: loss_extra is inf. The run stops here')
    assert 'run/epoch_1.pth' in error
    assert readable(tmp_path / 'run/epoch_1.pth')
    assert not (tmp_path / 'run/epoch_2.pth').exists()


def test_infinite_loss_before_any_checkpoint(spoilt_config, tmp_path, capsys):
    assert run_tool('train', spoilt_config(at=1), '--work-dir', tmp_path / 'run') == 1
    assert 'iteration 1: loss_extra is inf. The run stops here; there is no checkpoint yet' in capsys.readouterr().err


@pytest.mark.parametrize('by_epoch', [True, False])
def test_bad_weights_replace_no_checkpoint(by_epoch, tiny_config, tmp_path, capsys):
    name = ('epoch_1.pth', 'epoch_2.pth') if by_epoch else ('iter_3.pth', 'iter_6.pth')
    checkpoint = {'max_keep_ckpts': 1, 'by_epoch': by_epoch, 'interval': 1 if by_epoch else 3, 'save_best': None}
    config = tiny_config(
        "custom_hooks = [dict(type='SpoilWeights', at=6)]", f'default_hooks = dict(checkpoint={checkpoint})'
    )
    assert run_tool('train', config, '--work-dir', tmp_path / 'run') == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert 'iteration 6: 1 weights are not finite, the first is backbone.norm4.weight.' in error
    assert readable(tmp_path / 'run' / name[0])
    assert not (tmp_path / 'run' / name[1]).exists()


@pytest.mark.slow
def test_every_process_stops(spoilt_config, tmp_path):
    env = dict(os.environ, PYTHONPATH=f'{ROOT}{os.pathsep}{tmp_path}', OMP_NUM_THREADS='1', PYTHON=sys.executable)
    command = ['bash', ROOT / 'tools/dist_train.sh', spoilt_config(at=2, rank=1), '2', '--work-dir', tmp_path / 'run']
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode != 0
    # Both processes stop: the one with a finite loss did not wait for the other.
    assert done.stderr.count('error: iteration 2: loss_extra is inf') == 2
