"""Norm statistics of several processes before an evaluation."""

import subprocess
import sys

import torch
from mmengine.registry import HOOKS, DefaultScope
from torch import nn

import moganet.run.norm_statistics  # noqa: F401  registers

SCRIPT = """
import sys
from types import SimpleNamespace
import torch
from moganet.run.norm_statistics import ShareFirstNorms

folder, rank = sys.argv[1], int(sys.argv[2])
torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.BatchNorm2d(4))
torch.manual_seed(rank)
for _ in range(rank + 1):
    model(torch.rand(2, 3, 8, 8))
torch.save(model.state_dict(), f'{folder}/before{rank}.pth')
ShareFirstNorms().before_val_epoch(SimpleNamespace(model=model))
torch.save(model.state_dict(), f'{folder}/after{rank}.pth')
torch.distributed.barrier()  # a process that ends earlier can take the other one's connection with it
torch.distributed.destroy_process_group()
"""


def test_every_process_gets_the_statistics_of_the_first(tmp_path):
    processes = [subprocess.Popen([sys.executable, '-c', SCRIPT, str(tmp_path), str(rank)]) for rank in (0, 1)]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    before, after = (
        [torch.load(tmp_path / f'{when}{rank}.pth', weights_only=True) for rank in (0, 1)]
        for when in ('before', 'after')
    )
    assert not torch.equal(before[0]['1.running_mean'], before[1]['1.running_mean'])
    assert before[1]['1.num_batches_tracked'] == 2
    for state in after:
        assert all(torch.equal(value, before[0][name]) for name, value in state.items())


def test_one_process_keeps_its_own():
    model = nn.BatchNorm2d(2)
    model(torch.rand(2, 2, 4, 4))
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    with DefaultScope.overwrite_default_scope('mmdet'):
        hook = HOOKS.build({'type': 'ShareFirstNorms'})

    class Run:
        pass

    Run.model = model
    hook.before_val_epoch(Run)
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
