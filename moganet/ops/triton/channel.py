"""The channel branch on GPUs, with a backward pass of its own.

``ops/gradients.py`` has the algebra. The shared channel of Eq. 10, which is subtracted, is one more row of ``fc2``. Of
the hidden maps, only the one before the depthwise convolution is saved.

Not timed on a GPU in this form: the backward pass.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..gradients import ChannelSums, channel_gradients, folded_fc2
from ..interface import Options
from . import context, dwconv_gelu
from .matmul import matmul, transposed_matmul

# Tensors that the forward pass saves.
SAVED = 4


def forward(
    x: Tensor,
    normed: Tensor,
    mask: Tensor | None,
    weights: Sequence[Tensor],
    options: Options,
    saved: list[Tensor] | None,
) -> Tensor:
    """Compute x + mask * branch(normed) with matmuls in the type of ``normed``; see ``interface.Forward``."""
    scale, w1, b1, w_dw, b_dw, w_context, b_context, sigma, w2, b2 = weights
    h = matmul(normed.view(-1, normed.shape[-1]), w1, b1).view(*normed.shape[:3], -1)
    a = dwconv_gelu.forward(h, w_dw, b_dw)
    w2, b2, subtracted, factor = extended(scale, w_context, b_context, sigma, w2, b2, normed.dtype)
    t = matmul(a.view(-1, a.shape[-1]), w2, b2)
    dtype = torch.promote_types(x.dtype, scale.dtype)
    out, before_gelu = context.add_channel(x, t, subtracted, factor, mask, dtype, saved is not None)
    if saved is not None and before_gelu is not None:
        saved += [h, before_gelu, w2, subtracted]
    return out


def extended(
    scale: Tensor, w_context: Tensor, b_context: Tensor, sigma: Tensor, w2: Tensor, b2: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Return ``fc2`` with all scales folded in and extended by the shared channel, see ``context.extended``.

    Args:
        scale: Layer scale (C).
        w_context: Weight of ``decompose`` (rC).
        b_context: Bias of ``decompose`` (1).
        sigma: gamma_c (rC).
        w2: Weight of ``fc2`` (C, rC).
        b2: Bias of ``fc2`` (C).
        dtype: Type of the matmul.

    Returns:
        Weight and bias in ``dtype``, the factors of the shared channel (C), and in half precision the layer scale that
        is not folded in (C), else None.
    """
    folded, subtracted = folded_fc2(w2, scale, sigma)
    factor = None
    if dtype is torch.float16:
        folded, b2, factor = torch.addcmul(w2, w2, sigma), b2, scale
    else:
        b2 = scale * b2
    weight, bias = context.extended(folded, b2, w_context, b_context)
    return weight.to(dtype), bias.to(dtype), subtracted, factor


def backward(
    grad: Tensor,
    normed: Tensor,
    mask: Tensor | None,
    weights: Sequence[Tensor],
    options: Options,
    saved: Sequence[Tensor],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Compute the gradients of ``normed`` and of all weights; see ``interface.Backward``."""
    scale, w1, _, w_dw, b_dw, *_, w2, _ = weights
    h, before_gelu, weight, subtracted = saved
    channels, hidden = w2.shape
    dt, dt_sum, dt_context, d_b_context = context.context_backward(grad, before_gelu, subtracted, mask, normed.dtype)
    through = dt
    if normed.dtype is torch.float16:  # the layer scale is not folded into the weight
        through = dt.clone()
        through[:, :channels] *= scale.to(dt.dtype)
    da = matmul(through, weight.t()).view(h.shape)
    a, dh, sums = dwconv_gelu.backward(da, h, w_dw, b_dw)
    m = transposed_matmul(dt, a.view(-1, hidden))
    d_w_context, m = m[channels], m[:channels]
    dh = dh.view(-1, hidden)
    d_w1 = transposed_matmul(dh, normed.view(-1, channels))
    d_normed = matmul(dh, w1.t()).view(normed.shape)
    d_taps, d_b_dw, d_b1 = sums.split((9, 1, 1))
    d_dw = d_taps.t().reshape(w_dw.shape)
    totals = ChannelSums(dt_sum, dt_context, m, d_b_context, d_w1, d_dw, d_b_dw.view(-1), d_w_context, d_b1.view(-1))
    return d_normed, channel_gradients([w.float() for w in weights], totals)
