"""The cpp backend: a block on CPUs by compiled kernels, in float32."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..conditions import cpu_accepts
from ..gradients import FoldedSpatial
from ..interface import Backend, Branch, Options
from . import channel, library, spatial
from .bindings import MAX_SIDE

BRANCHES = Branch(spatial.forward, spatial.backward), Branch(channel.forward, channel.backward)


def accepts(x: Tensor, modules: Sequence[nn.Module]) -> bool:
    """Return whether a block is computed here: float32, with kernels compiled for this processor and these sizes."""
    if x.dtype is not torch.float32 or not cpu_accepts(x, modules) or library.load() is None:
        return False
    return all(is_compiled(conv.kernel_size) for conv in modules if isinstance(conv, nn.Conv2d))


def is_compiled(sides: Sequence[int]) -> bool:
    """Return whether kernels are compiled for a depthwise convolution of these sides (height, width)."""
    return sides[0] == sides[1] <= MAX_SIDE


def accepts_folded(x: Tensor, weights: Sequence[Tensor]) -> bool:
    """Return whether a folded block on ``x`` is computed here."""
    if x.dtype is not torch.float32 or x.device.type != 'cpu' or not x.numel():
        return False
    if torch.compiler.is_compiling() or library.load() is None:
        return False
    usual = all(w.dtype is torch.float32 and w.is_contiguous() for w in weights)
    return usual and all(is_compiled(weights[i].shape[2:]) for i in (5, 7, 9))


def folded(
    x: Tensor, spatial_weights: Sequence[Tensor], channel_weights: Sequence[Tensor], options: Options, cache: bool
) -> Tensor:
    """Compute a folded block; see ``interface.Folded``."""
    x = x.permute(0, 2, 3, 1).contiguous()
    x = spatial.folded_forward(x, x, None, FoldedSpatial.of(spatial_weights), options)
    return channel.folded_forward(x, x, None, channel_weights).permute(0, 3, 1, 2)


CPP = Backend('cpp', 'CPUs', accepts, lambda: BRANCHES, accepts_folded, folded)
