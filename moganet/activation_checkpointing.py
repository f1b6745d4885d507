"""Activation checkpointing of blocks with norms: less memory while training, the same values and statistics."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from .compat import BatchNorm, own_buffers


def checkpointed(block: nn.Module, x: Tensor) -> Tensor:
    """Return ``block(x)``; its inner maps are computed again in the backward pass instead of saved.

    Args:
        block: Any module with one input.
        x: Its input.
    """
    if torch.compiler.is_compiling():  # the compiler updates buffers once, after the graph, and accepts no context
        return checkpoint(block, x, use_reentrant=False)
    return checkpoint(
        block, x, use_reentrant=False, context_fn=lambda: (contextlib.nullcontext(), _unchanged_statistics(block))
    )


@contextlib.contextmanager
def _unchanged_statistics(module: nn.Module) -> Iterator[None]:
    """Give the norms of ``module`` copies of their buffers, so that the second forward pass counts no batch twice."""
    norms = [m for m in module.modules() if isinstance(m, BatchNorm)]
    originals = [dict(own_buffers(norm)) for norm in norms]
    for norm, buffers in zip(norms, originals, strict=True):
        own_buffers(norm).update({k: None if v is None else v.clone() for k, v in buffers.items()})
    try:
        yield
    finally:
        for norm, buffers in zip(norms, originals, strict=True):
            own_buffers(norm).update(buffers)
