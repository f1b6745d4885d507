"""Two processes with sharded weights (FSDP) compute the same as one, for each choice of the sharded unit."""

import os
import subprocess
import sys

from helpers.tool_runs import ROOT

SCRIPT = """
import copy, sys
import torch
from helpers.few_blocks import few_blocks
from torch.distributed.fsdp import FullyShardedDataParallel, fully_shard
from torch.distributed.fsdp.wrap import ModuleWrapPolicy
from moganet import ops

WAYS = dict(fully_shard='blocks1.0', original='blocks1.0.attn', flat='blocks1.0.mlp')


def shard(model, way):
    kind = type(model.get_submodule(WAYS[way]))
    if way == 'fully_shard':
        for module in [module for module in model.modules() if type(module) is kind]:
            fully_shard(module)
        fully_shard(model)
        return model
    units = ModuleWrapPolicy({kind})
    return FullyShardedDataParallel(
        model, auto_wrap_policy=units, device_id=torch.device('cpu'), use_orig_params=way == 'original')


def check(way):
    torch.manual_seed(0)
    whole = few_blocks('xtiny').eval()
    model = shard(copy.deepcopy(whole), way)
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
    assert (out - expected).norm() < 1e-5 * expected.norm(), way
    assert abs(squares / all_squares - 1) < 1e-5, way


folder, rank = sys.argv[1], int(sys.argv[2])
torch.set_num_threads(1)
torch.distributed.init_process_group('gloo', init_method=f'file://{folder}/rendezvous', rank=rank, world_size=2)
ops.conditions.MIN_ELEMENTS = 0
for way in WAYS:
    check(way)
torch.distributed.barrier()
print('checked', len(WAYS))
torch.distributed.destroy_process_group()
"""


def test_shards_compute_what_the_whole_does(tmp_path):
    environment = dict(os.environ, PYTHONPATH=f'{ROOT}{os.pathsep}{ROOT}/tests')
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    processes = [
        subprocess.Popen([sys.executable, '-c', SCRIPT, str(tmp_path), str(rank)], env=environment, **pipes)
        for rank in (0, 1)
    ]
    outputs = [process.communicate(timeout=300) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], [error for _, error in outputs]
    assert [output for output, _ in outputs] == ['checked 3\n'] * 2
