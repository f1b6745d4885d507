"""Conditions that several backends share: graph capture, hooks, transforms, and the types of tensors."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .. import compat

# On maps with fewer elements, the Python code between operators takes longer than a CPU backend saves.
MIN_ELEMENTS = 1 << 14


def is_captured() -> bool:
    """Return whether a compiler, an exporter or the tracer records a graph."""
    return torch.compiler.is_compiling() or torch.jit.is_tracing() or torch.jit.is_scripting()


def is_intercepted() -> bool:
    """Return whether a dispatch mode, a function transform or a global hook observes each operator."""
    return compat.has_dispatch_modes() or compat.has_transforms() or compat.has_global_hooks()


def is_unhooked(module: nn.Module) -> bool:
    """Return whether a call of ``module`` does no more than the forward of its class. Compilers trace this."""
    return not (compat.has_hooks(module) or 'forward' in module.__dict__)


def is_plain(tensor: Tensor) -> bool:
    """Return whether ``tensor`` is of no subclass, which could behave otherwise."""
    return type(tensor) in (Tensor, nn.Parameter)


def cpu_accepts(x: Tensor, modules: Sequence[nn.Module]) -> bool:
    """Return whether a CPU backend may compute a block on ``x`` (B, C, H, W) with the weights of ``modules``.

    It may not on small maps, under autocast, in half precision, while a graph is captured, under dispatch modes and
    transforms, and for modules with hooks.
    """
    # A compiler evaluates this first condition and records the modules.
    if is_captured():
        return False
    if not _is_cpu_float(x) or x.dim() != 4 or x.numel() < max(1, MIN_ELEMENTS):
        return False
    if torch.is_autocast_enabled('cpu') or is_intercepted() or not all(map(is_unhooked, modules)):
        return False
    return all(_is_cpu_float(p) and p.dtype is x.dtype for p in compat.own_parameters(modules))


def _is_cpu_float(x: Tensor) -> bool:
    return is_plain(x) and x.device.type == 'cpu' and x.dtype in (torch.float32, torch.float64)
