"""Which path computes a block: the reference, or the faster one that a CPU has.

The faster path is exact: it differs from the reference by rounding. It is taken by itself wherever it applies, and said
in the log once. ``MOGANET_OPS=reference`` in the environment, or ``with use('reference')``, switches it off; with
``pytorch`` it has PyTorch's own operations only, and no kernels of ours, compiled ones or Triton's.

It does not apply, and the reference computes, on maps too small to gain from it, under autocast, in half precision, on
other devices, while a graph is captured (torch.compile, export, tracing), under dispatch modes, function transforms and
forward-mode derivatives, and for a block whose parts have hooks or are of other classes than those it was built with.
It has first derivatives only. What a GPU has, and when, is told in ``moganet.ops.triton.block``.
"""

import contextlib
import functools
import os
from collections.abc import Iterator, Sequence

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn
from torch.nn.modules import module as hooks

from . import triton
from .cpp import bindings, library

FUSED_TYPES = dict(
    cpu=(torch.float32, torch.float64, torch.bfloat16), cuda=(torch.float32, torch.bfloat16, torch.float16)
)
CHOICES = ('auto', 'pytorch', 'reference')
# Elements of a map below which what Python does between the operations takes longer than they do.
SMALLEST = 1 << 14
_choice = None
_announced = False


@contextlib.contextmanager
def use(choice: str) -> Iterator[None]:
    """Compute with 'reference', 'pytorch' or 'auto', the fastest that applies, in all threads until the block ends.

    Raises:
        ValueError: no such choice.
    """
    global _choice
    before, _choice = _choice, _checked(choice, 'use()')
    try:
        yield
    finally:
        _choice = before


def choice() -> str:
    """'auto', 'pytorch' or 'reference': what ``use`` says, or else the environment.

    Raises:
        ValueError: MOGANET_OPS is none of them.
    """
    return _choice or _from_environment()


def _from_environment() -> str:
    return _checked(os.environ.get('MOGANET_OPS') or 'auto', 'MOGANET_OPS')


def _checked(choice: str, source: str) -> str:
    if choice not in CHOICES:
        raise ValueError(f'{source} is {choice!r}: expected {", ".join(CHOICES[:-1])} or {CHOICES[-1]}')
    return choice


def fast(x: Tensor, parts: tuple[nn.Module, ...]) -> bool:
    """Whether the faster path computes ``x`` by the weights of ``parts``, which it reads without calling them."""
    # What a compiler can see through comes first: it knows these answers, and takes the reference.
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.jit.is_scripting():
        return False
    if choice() == 'reference' or not _ordinary(x) or x.dim() != 4 or x.numel() < max(1, SMALLEST):
        return False
    if torch.is_autocast_enabled('cpu') or intercepted():
        return False
    if not all(_plain(part, x) for part in parts):
        return False
    _keep_freed_memory()
    _announce_cpus()
    return True


def fused(x: Tensor) -> bool:
    """Whether a faster path computes ``x`` by a block that is folded for inference.

    torch.compile takes its operations as they are. Exported graphs are made of PyTorch's own.
    """
    device = x.device.type
    if choice() == 'reference' or x.dtype not in FUSED_TYPES.get(device, ()) or torch.is_autocast_enabled(device):
        return False
    if not x.numel():  # kernels have nothing to share out
        return False
    if (
        device == 'cuda'
        and (choice() != 'auto' or not triton.available())
        or torch.is_grad_enabled()
        and x.requires_grad
    ):
        return False
    if torch.compiler.is_dynamo_compiling():
        # Asked here, the public is_exporting() is true for torch.compile as well.
        return not getattr(torch.compiler, '_is_exporting_flag', False)
    if torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.jit.is_scripting() or intercepted():
        return False
    if not triton.capable(x.device):
        return False
    if device == 'cpu':
        _keep_freed_memory()
    _announce_cpus() if device == 'cpu' else announce('GPUs')
    return True


def compiled(x: Tensor, convs: Sequence[Tensor] = ()) -> bool:
    """Whether kernels of ours are compiled for a map ``x`` on a CPU and depthwise convolutions of these weights."""
    return x.dtype is torch.float32 and choice() == 'auto' and library.load() is not None and bindings.compiles(convs)


@functools.cache
def _keep_freed_memory() -> None:
    """Let the process keep what maps leave behind, up to 64 MB, for the maps to come.

    glibc hands back what lies free at the end of the heap once it is twice the largest block freed so far: a network
    that allocates a little more than that gets the same pages anew, zeroed, in each of its layers, which can take as
    long as computing. It counts blocks up to 32 MB; this one is never touched, so that it costs nothing.
    """
    torch.empty((32 << 20) - (1 << 16), dtype=torch.uint8)


def _ordinary(x: Tensor) -> bool:
    return type(x) in (Tensor, nn.Parameter) and x.device.type == 'cpu' and x.dtype in (torch.float32, torch.float64)


def _plain(part: nn.Module, x: Tensor) -> bool:
    """Whether ``part`` is as its class is, with ordinary parameters like ``x``."""
    parameters = (p for p in part._parameters.values() if p is not None)
    return untouched(part) and all(_ordinary(p) and p.dtype is x.dtype for p in parameters)


def untouched(part: nn.Module) -> bool:
    """Whether calling ``part`` would do no more than its class does. Compilers see through this."""
    return not (
        part._forward_hooks
        or part._forward_pre_hooks
        or part._backward_hooks
        or part._backward_pre_hooks
        or 'forward' in part.__dict__
    )


def intercepted() -> bool:
    """Whether someone else watches or transforms all that is computed."""
    return bool(
        torch._C._len_torch_dispatch_stack()
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
        or hooks._global_forward_hooks
        or hooks._global_forward_pre_hooks
        or hooks._global_backward_hooks
        or hooks._global_backward_pre_hooks
    )


def _announce_cpus() -> None:
    announce('CPUs', '' if library.load() else '; `moganet kernels` compiles what makes it faster still')


def announce(devices: str, hint: str = '') -> None:
    """Say once which path computes, to the logger of a run; without a run nobody asked."""
    global _announced
    if not _announced and MMLogger._instance_dict:
        _announced = True
        MMLogger.get_current_instance().info(
            f'MogaNet computes by its faster path for {devices}; MOGANET_OPS=reference switches it off{hint}'
        )
