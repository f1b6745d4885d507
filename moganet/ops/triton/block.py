"""When a block takes the path for GPUs, and how: 1x1 convolutions as matrix products, and between them our kernels."""

import functools
from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor, nn

from .. import autograd, dispatch
from . import available, capable

DEVICE = 'cuda'
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def takes(x: Tensor) -> bool:
    """Whether ``x`` is on a device that this path is for."""
    return x.device.type == DEVICE


def applies(x: Tensor, parts: tuple[nn.Module, ...]) -> bool:
    """Whether this path computes ``x`` by the weights of ``parts``, which it reads without calling them.

    It does under autocast, torch.compile and torch.export; not in double precision, while tracing, under dispatch modes
    and function transforms, and for parts with hooks or of other types.
    """
    if not takes(x) or not available() or torch.jit.is_tracing() or torch.jit.is_scripting():
        return False
    if dispatch.choice() != 'auto' or x.dtype not in DTYPES or x.dim() != 4 or not x.numel():
        return False
    if not all(dispatch.untouched(part) and _fits(part, x) for part in parts):
        return False
    if torch.compiler.is_compiling():
        return True
    parameters = (p for part in parts for p in part._parameters.values() if p is not None)
    if dispatch.intercepted() or any(type(tensor) not in (Tensor, nn.Parameter) for tensor in (x, *parameters)):
        return False
    if not capable(x.device):
        return False
    dispatch.announce('GPUs')
    return True


def _fits(part: nn.Module, x: Tensor) -> bool:
    """Whether the parameters of ``part`` are beside ``x``, and of its type unless that is chosen per operation."""
    dtypes = DTYPES if torch.is_autocast_enabled(DEVICE) else (x.dtype,)
    return all(p.device == x.device and p.dtype in dtypes for p in part._parameters.values() if p is not None)


def halves() -> tuple[Callable, Callable]:
    """``half.computed`` of the spatial and of the channel half; for a compiler, as operators."""
    from . import channel, custom_ops, spatial

    if torch.compiler.is_compiling():
        return functools.partial(_typed, custom_ops.spatial_half), functools.partial(_typed, custom_ops.channel_half)
    return _half(spatial), _half(channel)


def _half(module: ModuleType) -> Callable:
    def compute(options: tuple, x: Tensor, *others: object) -> Tensor:
        with torch.cuda.device_of(x):
            return autograd.computed(module, options, x, *others)

    return functools.partial(_typed, compute)


def _typed(
    compute: Callable, options: tuple, x: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...]
) -> Tensor:
    """``compute`` on the device of ``x``, with products of the type that autocast wants."""
    device = x.device.type
    if not torch.is_autocast_enabled(device):
        return compute(options, x, normed, mask, weights)
    dtype = torch.get_autocast_dtype(device)
    with torch.autocast(device, enabled=False):
        return compute(options, x, normed.to(dtype), mask, weights)
