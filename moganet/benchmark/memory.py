"""Memory of a training step: bytes saved for the backward pass, and the peak of the whole step."""

import contextlib
import gc
from pathlib import Path

import torch
from torch import Tensor, nn

from .. import ops
from ..backbone import MogaNet
from .fresh_process import in_fresh_process
from .interleave import Result
from .workloads import training_step

# Upper bounds over the reference mode without activation checkpointing: without it, and with it.
GOALS = (0.65, 0.30)
MIB = 1 << 20


def saved_for_backward(model: nn.Module, x: Tensor, mode: str) -> int:
    """Count the bytes that autograd saves between forward and backward pass.

    Each storage counts once; parameters and buffers do not count. Tensors that activation checkpointing saves escape
    the count.

    Args:
        model: The network.
        x: The batch, (B, C, H, W).
        mode: A mode of ``ops.use``.
    """
    weights = {t.untyped_storage().data_ptr() for t in (*model.parameters(), *model.buffers())}
    saved: dict[int, int] = {}

    def count(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with ops.use(mode), torch.autograd.graph.saved_tensors_hooks(count, lambda tensor: tensor):
        out = model(x)
    del out
    return sum(saved.values())


def step_peak(arch: str, side: int, batch: int, mode: str, with_cp: bool, device: str, autocast: str = '') -> float:
    """Measure the peak of the second training step with AdamW, in bytes above those before the model was built.

    On a CPU the bytes are pages of the process, which has to be a fresh one: see ``fresh_peak``.

    Args:
        arch: Size of MogaNet.
        side: Height and width of the images in pixels.
        batch: Number of images.
        mode: A mode of ``ops.use``.
        with_cp: Use activation checkpointing.
        device: 'cpu' or 'cuda'.
        autocast: Name of a data type of torch, such as 'bfloat16'; '' for float32.
    """
    before = now(device)
    x = torch.randn(batch, 3, side, side, device=device)
    model = MogaNet(arch, with_cp=with_cp).to(device).train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=device == 'cuda')
    step = training_step(model, x, mode, optimizer, getattr(torch, autocast) if autocast else None)
    step()
    reset_peak(device)
    step()
    return peak(device) - before


def now(device: str) -> float:
    """Return the bytes of all tensors on a GPU, or of all pages of this process."""
    return torch.cuda.memory_allocated() if device == 'cuda' else _pages('VmRSS')


def peak(device: str) -> float:
    """Return the maximum of ``now`` since ``reset_peak``."""
    return torch.cuda.max_memory_allocated() if device == 'cuda' else _pages('VmHWM')


def reset_peak(device: str) -> None:
    """Let ``peak`` start again from ``now``."""
    if device == 'cuda':
        torch.cuda.reset_peak_memory_stats()
    else:
        # Some containers refuse to write here; the peak of building the model then counts too.
        with contextlib.suppress(OSError):
            Path('/proc/self/clear_refs').write_text('5')


def _pages(key: str) -> int:
    """Return the bytes of this process' pages: VmRSS now, VmHWM at most.

    getrusage cannot be used: in a child process it includes the pages of the parent.
    """
    line = next(line for line in Path('/proc/self/status').read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) << 10


def fresh_peak(arch: str, side: int, batch: int, mode: str, with_cp: bool, device: str, autocast: str = '') -> float:
    """Return ``step_peak`` without the memory of earlier work: in a new process for a CPU, in this one for a GPU."""
    if device == 'cuda':
        gc.collect()  # tensors of earlier sections would be freed during the step
        torch.cuda.empty_cache()
        return step_peak(arch, side, batch, mode, with_cp, device, autocast)
    return in_fresh_process(
        step_peak, arch=arch, side=side, batch=batch, mode=mode, with_cp=with_cp, device=device, autocast=autocast
    )


def peaks(
    arch: str,
    side: int,
    batch: int,
    goals: tuple[float | None, float | None] = GOALS,
    device: str = 'cpu',
    autocast: str = '',
) -> list[Result]:
    """Compare the peak of a training step with the reference mode, without and with activation checkpointing.

    The reference mode itself runs without activation checkpointing. See ``step_peak`` for the arguments; ``goals`` are
    the upper bounds of the two ratios.
    """

    def measure(mode: str, with_cp: bool) -> float:
        return fresh_peak(
            arch=arch, side=side, batch=batch, mode=mode, with_cp=with_cp, device=device, autocast=autocast
        )

    theirs = measure('reference', with_cp=False)
    results = []
    for with_cp, goal in zip((False, True), goals, strict=True):
        ours = measure('auto', with_cp)
        name = f'memory of a training step{", with_cp" if with_cp else ""}, {arch} {side}x{side} batch {batch}'
        results.append(memory_result(name, ours, 'reference mode, peak', theirs, goal))
    return results


def saved(arch: str, side: int, batch: int) -> list[Result]:
    """Compare the bytes saved for the backward pass with the reference mode, on a CPU."""
    x = torch.randn(batch, 3, side, side)
    model = MogaNet(arch).train()
    ours, theirs = (saved_for_backward(model, x, mode) for mode in ('auto', 'reference'))
    name = f'saved for the backward pass, {arch} {side}x{side} batch {batch}'
    return [memory_result(name, ours, 'reference mode', theirs, GOALS[0])]


def memory_result(name: str, ours: float, baseline: str, theirs: float, goal: float | None) -> Result:
    """Return a result in MiB from bytes."""
    return Result(name, baseline, ours / MIB, theirs / MIB, ours / theirs, goal, 'MiB')
