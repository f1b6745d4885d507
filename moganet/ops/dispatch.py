"""Dispatch: which backend computes a block, how it is switched off, and the memory layout that the backend likes.

A backend (``interface.Backend``) computes the same as the modules up to rounding. The first one that accepts a call
computes it. If none accepts, the modules of ``moganet/backbone.py`` compute; this is 'the reference'. ``MOGANET_OPS``
in the environment, or ``with use(...)``, sets the mode:

* ``auto``, the default: triton on GPUs, cpp on CPUs for which ``moganet kernels`` has compiled kernels, else torch
* ``pytorch``: the torch backend alone, without kernels of ours
* ``reference``: no backend

The reference also computes a block one of whose modules was replaced, wrapped or has hooks, since a backend reads the
weights without calling the modules. Norms and stochastic depth are called and may be any module. The ``accepts`` of
each backend says what else it leaves to the reference. All backends have first derivatives only.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from mmengine.logging import MMLogger
from torch import Tensor, nn

from .. import compat
from .block import Block, run
from .conditions import is_captured, is_intercepted
from .cpp import library
from .cpp.backend import CPP
from .interface import Backend
from .torch.backend import TORCH
from .triton.backend import TRITON, accepts_stem

# The backends of each mode, in the order in which they are asked.
BACKENDS: dict[str, tuple[Backend, ...]] = {'auto': (TRITON, CPP, TORCH), 'pytorch': (TORCH,), 'reference': ()}
# Classes of a block's modules whose arithmetic the backends and ``fuse`` know. They are names, since the backbone
# imports this file.
EXPECTED_TYPES = {
    'attn': 'MultiOrderGatedAggregation',
    'attn.sigma': 'ElementScale',
    'attn.value': 'MultiOrderDWConv',
    'mlp': 'ChannelAggregationFFN',
    'mlp.sigma': 'ElementScale',
}
_mode: str | None = None
_announced = False


@contextlib.contextmanager
def use(mode: str) -> Iterator[None]:
    """Set the mode in all threads until the ``with`` block ends.

    Args:
        mode: 'auto', 'pytorch' or 'reference'.

    Raises:
        ValueError: ``mode`` is none of them.
    """
    global _mode
    before, _mode = _mode, _checked(mode, 'use()')
    try:
        yield
    finally:
        _mode = before


def mode() -> str:
    """Return the mode: that of ``use``, else of ``MOGANET_OPS``, else 'auto'.

    Raises:
        ValueError: ``MOGANET_OPS`` names no mode.
    """
    return _mode or _checked(os.environ.get('MOGANET_OPS') or 'auto', 'MOGANET_OPS')


def _checked(mode: str, source: str) -> str:
    if mode not in BACKENDS:
        *others, last = BACKENDS
        raise ValueError(f'{source} is {mode!r}: expected {", ".join(others)} or {last}')
    return mode


def fast_block(block: Block, x: Tensor) -> Tensor | None:
    """Return ``block(x)`` as the first backend that accepts computes it, or None if the modules have to compute it.

    Args:
        block: A ``MogaBlock``.
        x: (B, C, H, W).
    """
    backend = backend_for(block, x)
    return None if backend is None else run(backend, block, x)


def backend_for(block: Block, x: Tensor) -> Backend | None:
    """Return the first backend that computes ``block(x)``, or None.

    Args:
        block: A ``MogaBlock``.
        x: (B, C, H, W).
    """
    backends = BACKENDS[mode()]
    if not backends or modified_module(block):
        return None
    modules = _modules(block)
    if modules is None:
        return None
    return _announce(next((backend for backend in backends if backend.accepts(x, modules)), None))


def _modules(block: Block) -> tuple[nn.Module, ...] | None:
    """Return the modules whose weights a backend reads, or None if a convolution was replaced or has no bias."""
    attn, mlp = block.attn, block.mlp
    value = attn.value
    convs = (
        attn.proj_1,
        attn.gate,
        value.DW_conv0,
        value.DW_conv1,
        value.DW_conv2,
        value.PW_conv,
        attn.proj_2,
        mlp.fc1,
        mlp.dwconv,
        mlp.decompose,
        mlp.fc2,
    )
    if any(type(conv) is not nn.Conv2d or conv.bias is None for conv in convs):
        return None
    modules: tuple[Any, ...] = (*convs, attn, value, attn.sigma, mlp, mlp.sigma)
    return modules


def modified_module(block: Block) -> str | None:
    """Return the name of the first module of ``EXPECTED_TYPES`` whose class was replaced, as by a wrapper, or None."""
    for name, expected in EXPECTED_TYPES.items():
        module: Any = block
        for key in name.split('.'):
            module = compat.child(module, key)
        if type(module).__name__ != expected or type(module).__module__ != 'moganet.backbone':
            return name
    return None


def preferred_layout(block: Block, x: Tensor) -> torch.memory_format | None:
    """Return the memory format in which a network of such blocks computes ``x`` fastest, or None if any will do.

    Backends compute channels-last maps: an image in another format would be converted in front of each block. The image
    stands for the maps of the first block here: a backend accepts by type, device and size, not by channels.

    Args:
        block: A ``MogaBlock``, the first of the network.
        x: The image (B, C, H, W).
    """
    return torch.channels_last if backend_for(block, x) else None


def to_layout(x: Tensor, layout: torch.memory_format | None) -> tuple[Tensor, Callable[[Tensor], Tensor]]:
    """Return ``x`` in a memory format, and a function that returns the network's maps in the format that ``x`` has.

    Args:
        x: The image (B, C, H, W).
        layout: As ``preferred_layout`` returns it; None leaves all maps as they are.
    """
    if layout is None:
        return x, _unchanged
    return x.contiguous(memory_format=layout), Tensor.contiguous if x.is_contiguous() else _unchanged


def _unchanged(x: Tensor) -> Tensor:
    return x


def backend_for_folded(x: Tensor, weights: Sequence[Tensor]) -> Backend | None:
    """Return the first backend that computes a folded block on ``x``, or None.

    torch.compile puts the block into its graph as one operator. Graphs of torch.export hold PyTorch's operators alone.

    Args:
        x: (B, C, H, W).
        weights: Folded weights of both branches.
    """
    if torch.is_autocast_enabled(x.device.type) or (torch.is_grad_enabled() and x.requires_grad):
        return None
    if torch.compiler.is_dynamo_compiling():
        return None if compat.is_exporting() else first_for_folded(x, weights)
    if is_captured() or is_intercepted():
        return None
    return _announce(first_for_folded(x, weights))


def first_for_folded(x: Tensor, weights: Sequence[Tensor]) -> Backend | None:
    """Return the first backend that accepts a folded block, whatever else observes the computation."""
    return next((backend for backend in BACKENDS[mode()] if backend.accepts_folded(x, weights)), None)


def has_stem_kernel(x: Tensor, conv: nn.Conv2d, act: nn.Module) -> bool:
    """Return whether a kernel computes ``act(conv(x))``, the first layers of a folded stem."""
    return x.is_cuda and backend_for_folded(x, ()) is TRITON and accepts_stem(x, conv, act)


def _announce(backend: Backend | None) -> Backend | None:
    """Log once which backend computes, if a run has set up a logger. Returns ``backend``."""
    global _announced
    if backend and not _announced and not torch.compiler.is_compiling() and compat.has_run_logger():
        _announced = True
        hint = '' if backend is not TORCH or library.load() else '; `moganet kernels` compiles faster kernels'
        MMLogger.get_current_instance().info(
            f'MogaNet computes with its {backend.name} backend on {backend.devices}; MOGANET_OPS=reference switches it '
            f'off{hint}'
        )
    return backend
