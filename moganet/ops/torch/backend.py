"""The torch backend: a block on CPUs as PyTorch operators, for processors without compiled kernels and for float64."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..conditions import cpu_accepts
from ..gradients import FoldedSpatial
from ..interface import Backend, Branch, Options
from . import channel, spatial

FOLDED_TYPES = (torch.float32, torch.float64, torch.bfloat16)
BRANCHES = Branch(spatial.forward, spatial.backward), Branch(channel.forward, channel.backward)


def accepts_folded(x: Tensor, weights: Sequence[Tensor]) -> bool:
    """Return whether a folded block on ``x`` is computed here."""
    return x.device.type == 'cpu' and x.dtype in FOLDED_TYPES and x.numel() > 0


def folded(
    x: Tensor, spatial_weights: Sequence[Tensor], channel_weights: Sequence[Tensor], options: Options, cache: bool
) -> Tensor:
    """Compute a folded block; see ``interface.Folded``."""
    x = x.permute(0, 2, 3, 1).contiguous()
    x = spatial.folded_forward(x, x, None, FoldedSpatial.of(spatial_weights), options)
    return channel.folded_forward(x, x, None, channel_weights).permute(0, 3, 1, 2)


TORCH = Backend('torch', 'CPUs', cpu_accepts, lambda: BRANCHES, accepts_folded, folded)
