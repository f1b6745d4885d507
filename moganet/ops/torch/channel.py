"""The channel branch as PyTorch operators on CPUs, with a backward pass of its own.

``gradients.py`` has the algebra. Of the hidden maps, only the one before the depthwise convolution is saved: to compute
the two after it again takes less time than to write and read them. A few images at a time, they stay in the cache.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..cpu_memory import chunks, empty_map
from ..gradients import ChannelSums, channel_gradients, folded_fc2
from ..interface import Options
from . import elementwise
from .matmul import matmul, transposed_matmul

# Tensors that the forward pass saves for each chunk of images.
SAVED = 2


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
        saved: Receives ``SAVED`` tensors for each chunk of images.
    """
    w1, b1, w_dw, b_dw, w_context, b_context, w2, b2, subtracted = weights
    hidden = len(w1)
    out = empty_map(x)
    for images in chunks(x, hidden):
        part = normed[images]
        h = matmul(part.flatten(0, 2), w1, b1).view(*part.shape[:3], hidden)
        g, context = elementwise.hidden(h, w_dw, b_dw, w_context.flatten(), b_context)
        t = matmul(g, w2, b2).view(part.shape)
        elementwise.add_channel(t, x[images], context, subtracted, None if mask is None else mask[images], out[images])
        if saved is not None:
            saved += [h, context]
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
    scale, w1, _, w_dw, b_dw, w_context, _, sigma, w2, _ = weights
    w2, subtracted = folded_fc2(w2, scale, sigma)
    grad_normed = torch.empty_like(normed)
    sums: list[Tensor] = []
    for i, images in enumerate(chunks(normed, len(w1))):
        h, context = saved[SAVED * i : SAVED * (i + 1)]
        part = normed[images]
        dt, d_context, *shared = elementwise.context_backward(
            grad[images], context, subtracted, None if mask is None else mask[images]
        )
        dt = dt.flatten(0, 2)
        g, dh, *others = elementwise.hidden_backward(matmul(dt, w2.t()), d_context, h, w_dw, b_dw, w_context)
        dh = dh.reshape(-1, len(w1))
        grad_normed[images] = matmul(dh, w1.t()).view(part.shape)
        chunk = [
            *shared,
            transposed_matmul(dt, g),
            d_context.sum(0, keepdim=True),
            transposed_matmul(dh, part.flatten(0, 2)),
            *others,
        ]
        sums = elementwise.accumulated(sums, chunk)
    return grad_normed, channel_gradients(weights, ChannelSums(*sums))
