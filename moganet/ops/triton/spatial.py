"""The spatial branch on GPUs, with a backward pass of its own.

``ops/gradients.py`` has the algebra. The forward pass saves the maps that matmuls read or return; the backward pass
computes again the maps that take one pass. In half precision alone the layer scale is not folded into ``proj_2``: a
fresh one, 1e-5, would take its weights below the range of float16.

Not timed on a GPU in this form: the backward pass.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..gradients import Decomposition, SpatialSums, decomposed, spatial_gradients
from ..interface import Options
from . import elementwise, multi_order
from .matmul import matmul, transposed_matmul

# Tensors that the forward pass saves.
SAVED = 9


def forward(
    x: Tensor,
    normed: Tensor,
    mask: Tensor | None,
    weights: Sequence[Tensor],
    options: Options,
    saved: list[Tensor] | None,
) -> Tensor:
    """Compute x + mask * branch(normed) with matmuls in the type of ``normed``; see ``interface.Forward``."""
    scale, w_in, b_in, sigma, w_gate, b_gate, *convs, w_value, b_value, w_out, b_out = weights
    rows, channels = normed.view(-1, normed.shape[-1]), normed.shape[-1]
    w_in, bias, mean, projected = decomposed(normed, sigma.float(), w_in.float(), b_in.float())
    w_in = w_in.to(normed.dtype)
    table = multi_order.table_of(convs)
    y = matmul(rows, w_in).view(normed.shape)
    u = elementwise.activated(y, bias)
    g = matmul(u.view(-1, channels), w_gate, b_gate)
    m = multi_order.forward(u, table, options.dilations)
    v = matmul(m.view(-1, channels), w_value, b_value)
    g, v = g.view(normed.shape), v.view(normed.shape)
    w_out, b_out, factor = scaled_out(scale, w_out, b_out, normed.dtype)
    t = matmul(elementwise.gated(g, v, options.double_gate).view(-1, channels), w_out, b_out)
    if saved is not None:
        saved += [y, g, m, v, bias, mean, projected, table, w_in]
    return elementwise.add_spatial(x, t, normed, scale, factor, mask, torch.promote_types(x.dtype, scale.dtype))


def scaled_out(scale: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
    """Fold the layer scale into ``proj_2``, or return it as the factor that is left in half precision.

    Args:
        scale: Layer scale (C).
        weight: Weight of ``proj_2`` (C, C).
        bias: Bias of ``proj_2`` (C).
        dtype: Type of the matmul.

    Returns:
        Weight, bias, and the factor (C) or None.
    """
    if dtype is torch.float16:
        return weight, bias, scale
    return scale[:, None] * weight, scale * bias, None


def backward(
    grad: Tensor,
    normed: Tensor,
    mask: Tensor | None,
    weights: Sequence[Tensor],
    options: Options,
    saved: Sequence[Tensor],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Compute the gradients of ``normed`` and of all weights; see ``interface.Backward``."""
    scale, _, _, _, w_gate, _, *convs, w_value, _, w_out, b_out = weights
    y, g, m, v, bias, mean, projected, table, decomposed_in = saved
    shape, channels, dtype = normed.shape, normed.shape[-1], normed.dtype
    dt, (dt_sum, dt_normed) = elementwise.shortcut_backward(grad, normed, mask)
    flat = dt.view(-1, channels)
    scaled, _, factor = scaled_out(scale, w_out, b_out, dtype)
    through = flat if factor is None else flat * factor.to(dtype)
    ds = matmul(through, scaled.t()).view(shape)
    s, dg, dv, (dg_sum, dv_sum) = elementwise.gated_backward(ds, g, v, options.double_gate)
    d_out = transposed_matmul(flat, s.view(-1, channels))
    dg, dv = dg.view(-1, channels), dv.view(-1, channels)
    d_value, dm = transposed_matmul(dv, m.view(-1, channels)), matmul(dv, w_value.t()).view(shape)
    u = elementwise.activated(y, bias)
    d_gate, du = transposed_matmul(dg, u.view(-1, channels)), matmul(dg, w_gate.t()).view(shape)
    du_convs, d_convs = multi_order.backward(dm, u, table, convs, options.dilations)
    dq, dq_sums = elementwise.activated_backward(du, du_convs, y, bias)
    dq = dq.view(-1, channels)
    d_in = transposed_matmul(dq, normed.view(-1, channels))
    d_normed = matmul(dq, decomposed_in.t()).view(shape)
    sums = SpatialSums(dt_sum, dt_normed, d_out, d_value, dv_sum, d_gate, dg_sum, d_in, d_convs, dq_sums)
    proj_1 = Decomposition(decomposed_in, bias, mean, projected)
    grads, d_mean = spatial_gradients([w.float() for w in weights], sums, proj_1)
    return elementwise.add_scaled(d_normed, dt, scale, d_mean.div_(-shape[1] * shape[2])), grads
