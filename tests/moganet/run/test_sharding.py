"""Two processes with sharded weights (FSDP) compute the same as one, for each choice of the sharded unit."""

import os
import subprocess
import sys

import pytest

from helpers.tool_runs import ROOT

SCRIPT = """
import copy, sys
import torch
from helpers.few_blocks import few_blocks
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from moganet import ops

folder, rank, way, unit = sys.argv[1], int(sys.argv[2]), sys.argv[3], sys.argv[4]
torch.set_num_threads(1)
torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
ops.conditions.MIN_ELEMENTS = 0
model = few_blocks('xtiny').eval()
whole = copy.deepcopy(model)
kind = type(model.get_submodule(unit))
if way == 'fully_shard':
    for module in [module for module in model.modules() if type(module) is kind]:
        fully_shard(module)
    fully_shard(model)
else:
    units = ModuleWrapPolicy({kind})
    model = FullyShardedDataParallel(model, auto_wrap_policy=units, device_id=torch.device('cpu'),
                                     use_orig_params=way == 'original')
torch.manual_seed(0)
x = torch.randn(2, 3, 32, 32)
found = []
for network in (model, whole):
    out = network(x)[-1]
    (out * torch.linspace(-1, 1, out.numel()).view_as(out)).sum().backward()
    grads = [p.grad.to_local() if way == 'fully_shard' and network is model else p.grad
             for p in network.parameters() if p.grad is not None]
    squares = sum((grad.double().square().sum() for grad in grads), torch.zeros((), dtype=torch.float64))
    found.append((out.detach(), squares))
(out, squares), (expected, all_squares) = found
torch.distributed.all_reduce(squares)
assert (out - expected).norm() < 1e-5 * expected.norm()
assert abs(squares / all_squares - 1) < 1e-5
torch.distributed.barrier()
torch.distributed.destroy_process_group()
"""


@pytest.mark.parametrize(
    ('way', 'unit'), [('fully_shard', 'blocks1.0'), ('original', 'blocks1.0.attn'), ('flat', 'blocks1.0.mlp')]
)
def test_shards_compute_what_the_whole_does(way, unit, tmp_path):
    environment = dict(os.environ, PYTHONPATH=f'{ROOT}{os.pathsep}{ROOT}/tests')
    processes = [
        subprocess.Popen(
            [sys.executable, '-c', SCRIPT, str(tmp_path), str(rank), way, unit],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], errors
