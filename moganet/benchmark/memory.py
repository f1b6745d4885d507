"""Memory of a training step: bytes that are kept for the backward pass, and the peak of the whole step."""

import contextlib
import gc
import json
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import ops
from ..backbone import MogaNet
from .interleave import Result
from .workloads import training_step

# Of the reference path without checkpointing: without it, and with it.
GOALS = (0.65, 0.30)
MIB = 1 << 20


def kept_for_backward(model: nn.Module, x: Tensor, path: str) -> int:
    """Bytes of all storages that autograd keeps between the passes, each once, without parameters and buffers.

    What checkpointing keeps does not pass by here.
    """
    own = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    kept = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with ops.use(path), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        out = model(x)
    del out
    return sum(kept.values())


def step_peak(arch: str, side: int, batch: int, path: str, with_cp: bool, device: str, autocast: str = '') -> float:
    """Bytes at the peak of the second training step with AdamW, over those before the model was there.

    On a CPU they are pages of the process, so that it has to be a fresh one: see ``fresh_peak``. ``autocast`` names a
    data type of torch.
    """
    before = now(device)
    x = torch.randn(batch, 3, side, side, device=device)
    model = MogaNet(arch, with_cp=with_cp).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=device == 'cuda')
    step = training_step(model, x, path, optimizer, getattr(torch, autocast) if autocast else None)
    step()
    reset_peak(device)
    step()
    return peak(device) - before


def now(device: str) -> float:
    """Bytes of all tensors of a GPU, or of all pages of this process."""
    return torch.cuda.memory_allocated() if device == 'cuda' else _pages('VmRSS')


def peak(device: str) -> float:
    """The most that ``now`` has been since ``reset_peak``."""
    return torch.cuda.max_memory_allocated() if device == 'cuda' else _pages('VmHWM')


def reset_peak(device: str) -> None:
    """Let ``peak`` start from ``now``."""
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    else:
        with contextlib.suppress(OSError):  # some containers refuse; the peak of building the model then counts, too
            Path('/proc/self/clear_refs').write_text('5')


def _pages(key: str) -> int:
    """Bytes of this process' pages: VmRSS now, VmHWM at most. What getrusage says includes the parent's of a child."""
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) << 10


def in_fresh_process(function: str, **arguments: object) -> object:
    """What ``function``, 'module:name' of this package, returns in a new interpreter with as many threads."""
    module, name = function.split(':')
    script = (
        f'import json, sys, torch; torch.set_num_threads({torch.get_num_threads()}); '
        f'from {__package__}.{module} import {name}; '
        f'print(json.dumps({name}(**json.loads(sys.argv[1]))))'
    )
    done = subprocess.run([sys.executable, '-c', script, json.dumps(arguments)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f'{function} with {arguments} ended with {done.returncode}: {done.stderr[-2000:]}')
    return json.loads(done.stdout.splitlines()[-1])


def fresh_peak(**arguments: object) -> float:
    """``step_peak`` where nothing else is: in a fresh process for a CPU, in this one for a GPU."""
    if arguments['device'] == 'cuda':
        gc.collect()  # what other parts left would be freed in between
        torch.cuda.empty_cache()
        return step_peak(**arguments)
    return in_fresh_process('memory:step_peak', **arguments)


def peaks(
    arch: str, side: int, batch: int, goals: tuple = GOALS, device: str = 'cpu', autocast: str = ''
) -> list[Result]:
    """Ours beside the reference path: a training step's peak, without and with checkpointing."""
    shared = dict(arch=arch, side=side, batch=batch, device=device, autocast=autocast)
    theirs = fresh_peak(path='reference', with_cp=False, **shared)
    results = []
    for with_cp, goal in zip((False, True), goals, strict=True):
        ours = fresh_peak(path='auto', with_cp=with_cp, **shared)
        name = f'memory of a training step{", with_cp" if with_cp else ""}, {arch} {side}x{side} batch {batch}'
        results.append(memory_result(name, ours, 'reference path, peak', theirs, goal))
    return results


def kept(arch: str, side: int, batch: int) -> list[Result]:
    """Ours beside the reference path on a CPU: what is kept for the backward pass."""
    x = torch.randn(batch, 3, side, side)
    model = MogaNet(arch).train()
    ours, theirs = (kept_for_backward(model, x, path) for path in ('auto', 'reference'))
    return [
        memory_result(
            f'kept for the backward pass, {arch} {side}x{side} batch {batch}', ours, 'reference path', theirs, GOALS[0]
        )
    ]


def memory_result(name: str, ours: float, rival: str, theirs: float, goal: float | None) -> Result:
    """Bytes as MiB."""
    return Result(name, rival, ours / MIB, theirs / MIB, ours / theirs, goal, 'MiB')
