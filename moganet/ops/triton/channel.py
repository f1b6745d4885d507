"""The channel half of a block on a GPU: x + layer scale * FFN(normed), with a backward of its own.

The algebra is that of ``ops.torch.channel``. The channel that Eq. 10 makes of the hidden map, and subtracts, is a row
more of the last convolution. Of the hidden maps, the one before the depthwise convolution alone is kept.
"""

import torch
from torch import Tensor

from ..torch import elementwise
from . import context, dwconv_gelu
from .matmul import correlate, product

# Maps and vectors that ``forward`` keeps.
KEPT = 4


def forward(
    x: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...], options: tuple, kept: list | None
) -> Tensor:
    """Maps (B, H, W, C); products are in the type of ``normed``. ``kept`` is given what the backward pass needs."""
    scale, w1, b1, w_dw, b_dw, w_context, b_context, sigma, w2, b2 = weights
    h = product(normed.view(-1, normed.shape[-1]), w1, b1).view(*normed.shape[:3], -1)
    a = dwconv_gelu.forward(h, w_dw, b_dw)
    w2, b2, subtracted, factor = extended(scale, w_context, b_context, sigma, w2, b2, normed.dtype)
    t = product(a.view(-1, a.shape[-1]), w2, b2)
    dtype = torch.promote_types(x.dtype, scale.dtype)
    out, before_gelu = context.add_channel(x, t, subtracted, factor, mask, dtype, kept is not None)
    if kept is not None:
        kept += [h, before_gelu, w2, subtracted]
    return out


def extended(
    scale: Tensor, w_context: Tensor, b_context: Tensor, sigma: Tensor, w2: Tensor, b2: Tensor, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """The last convolution as ``context.extended``, with all scales in it, in ``dtype``; what the context
    is multiplied by, (C,); and the layer scale, where it is left to multiply by, as in ``spatial``.
    """
    folded, subtracted = elementwise.folded(w2, scale, sigma)
    factor = None
    if dtype is torch.float16:
        folded, b2, factor = torch.addcmul(w2, w2, sigma), b2, scale
    else:
        b2 = scale * b2
    weight, bias = context.extended(folded, b2, w_context, b_context)
    return weight.to(dtype), bias.to(dtype), subtracted, factor


def backward(
    grad: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...], options: tuple, kept: list
) -> tuple:
    """Gradients of ``normed`` and of all weights, in their order."""
    scale, w1, _, w_dw, b_dw, _, _, sigma, w2, b2 = weights
    h, before_gelu, weight, subtracted = kept
    channels, hidden = w2.shape
    dt, dt_sum, by_context, d_b_context = context.context_backward(grad, before_gelu, subtracted, mask, normed.dtype)
    through = dt
    if normed.dtype is torch.float16:  # which has the layer scale apart
        through = dt.clone()
        through[:, :channels] *= scale.to(dt.dtype)
    da = product(through, weight.t()).view(h.shape)
    a, dh, sums = dwconv_gelu.backward(da, h, w_dw, b_dw)
    m = correlate(dt, a.view(-1, hidden))
    d_w_context, m = m[channels], m[:channels]
    dh = dh.view(-1, hidden)
    d_w1 = correlate(dh, normed.view(-1, channels))
    d_normed = product(dh, w1.t()).view(normed.shape)
    d_taps, d_b_dw, d_b1 = sums.split((9, 1, 1))
    d_w2, d_scale, d_sigma = elementwise.folded_backward(m, by_context, w2.float(), scale.float(), sigma.float())
    return d_normed, (
        d_scale + b2 * dt_sum,
        d_w1,
        d_b1.view(-1),
        d_taps.t().reshape(w_dw.shape),
        d_b_dw.view(-1),
        d_w_context,
        d_b_context,
        d_sigma,
        d_w2,
        scale * dt_sum,
    )
