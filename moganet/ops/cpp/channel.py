"""The channel branch by compiled kernels, one call for each pass. ``gradients.py`` has the algebra."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..cpu_memory import empty_map
from ..gradients import ChannelSums, channel_gradients, folded_fc2
from ..interface import Options
from .bindings import call, channel_block


def forward(
    x: Tensor,
    normed: Tensor,
    mask: Tensor | None,
    weights: Sequence[Tensor],
    options: Options,
    saved: list[Tensor] | None,
) -> Tensor:
    """Compute x + mask * branch(normed); see ``interface.Forward``."""
    scale, *others, sigma, w2, b2 = weights
    w2, subtracted = folded_fc2(w2, scale, sigma)
    return folded_forward(x, normed, mask, (*others, w2, scale * b2, subtracted), saved)


def folded_forward(
    x: Tensor, normed: Tensor, mask: Tensor | None, weights: Sequence[Tensor], saved: list[Tensor] | None = None
) -> Tensor:
    """Compute x + mask * branch(normed) with folded weights.

    Args:
        x: The residual (B, H, W, C).
        normed: The normalised input (B, H, W, C); in a folded block ``x`` itself.
        mask: Factors of stochastic depth (B, 1, 1, 1), or None.
        weights: Folded weights in the order of ``moganet/fusion.py``.
        saved: Receives one tensor, the hidden map and the shared channel of all images.
    """
    hidden = len(weights[0])
    out = empty_map(x)
    maps = None if saved is None else x.new_empty(x[..., 0].numel() * (hidden + 1))
    call('channel', channel_block(x, hidden), weights, x, normed, mask, maps, out)
    if saved is not None and maps is not None:
        saved.append(maps)
    return out


def backward(
    grad: Tensor,
    normed: Tensor,
    mask: Tensor | None,
    weights: Sequence[Tensor],
    options: Options,
    saved: Sequence[Tensor],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Compute the gradients of ``normed`` and of all weights; see ``interface.Backward``."""
    scale, w1, b1, w_dw, b_dw, w_context, b_context, sigma, w2, _ = weights
    w2, subtracted = folded_fc2(w2, scale, sigma)
    pointers = w2, subtracted, w1, w_dw, b_dw, w_context
    sums = [torch.empty_like(t) for t in (scale, scale, w2, b_context, w1, w_dw, b_dw, w_context, b1)]
    grad_normed = torch.empty_like(normed)
    block = channel_block(normed, len(w1))
    call('channel_backward', block, pointers, grad, normed, mask, saved[0], grad_normed, sums)
    return grad_normed, channel_gradients(weights, ChannelSums(*sums))
