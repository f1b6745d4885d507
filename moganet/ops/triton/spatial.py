"""The spatial half of a block on a GPU: x + layer scale * (normed + aggregation(normed)), with a backward of its own.

The algebra is that of ``ops.torch.spatial``. Kept are the maps that products read or give; what takes one pass to
compute again is not. Half precision alone multiplies by the layer scale afterwards: a fresh one, 1e-5, would take the
weights of the last convolution below what float16 can hold.
"""

import torch
from torch import Tensor

from ..torch.spatial import decomposed, weight_gradients
from . import elementwise, multi_order
from .matmul import correlate, product

# Maps and vectors that ``forward`` keeps.
KEPT = 9


def forward(
    x: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...], options: tuple, kept: list | None
) -> Tensor:
    """Maps (B, H, W, C); products are in the type of ``normed``. ``kept`` is given what the backward pass needs."""
    scale, w_in, b_in, sigma, w_gate, b_gate, *convs, w_value, b_value, w_out, b_out = weights
    double, dilations = options
    rows, channels = normed.view(-1, normed.shape[-1]), normed.shape[-1]
    w_in, bias, mean, projected = decomposed(normed, sigma.float(), w_in.float(), b_in.float())
    w_in = w_in.to(normed.dtype)
    table = multi_order.table_of(convs)
    y = product(rows, w_in).view(normed.shape)
    u = elementwise.activated(y, bias)
    g = product(u.view(-1, channels), w_gate, b_gate)
    m = multi_order.forward(u, table, dilations)
    v = product(m.view(-1, channels), w_value, b_value)
    g, v = g.view(normed.shape), v.view(normed.shape)
    w_out, b_out, factor = scaled_out(scale, w_out, b_out, normed.dtype)
    t = product(elementwise.gated(g, v, double).view(-1, channels), w_out, b_out)
    if kept is not None:
        kept += [y, g, m, v, bias, mean, projected, table, w_in]
    return elementwise.add_spatial(x, t, normed, scale, factor, mask, torch.promote_types(x.dtype, scale.dtype))


def scaled_out(scale: Tensor, weight: Tensor, bias: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor | None]:
    """The last convolution with the layer scale (C) in it, or the layer scale as what is left to multiply by."""
    if dtype is torch.float16:
        return weight, bias, scale
    return scale[:, None] * weight, scale * bias, None


def backward(
    grad: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...], options: tuple, kept: list
) -> tuple:
    """Gradients of ``normed`` and of all weights, in their order."""
    scale, w_in, _, sigma, w_gate, _, *convs, w_value, _, w_out, b_out = weights
    y, g, m, v, bias, mean, projected, table, decomposed_in = kept
    double, dilations = options
    shape, channels, dtype = normed.shape, normed.shape[-1], normed.dtype
    dt, (dt_sum, by_normed) = elementwise.shortcut_backward(grad, normed, mask)
    flat = dt.view(-1, channels)
    scaled, _, factor = scaled_out(scale, w_out, b_out, dtype)
    through = flat if factor is None else flat * factor.to(dtype)
    ds = product(through, scaled.t()).view(shape)
    s, dg, dv, (dg_sum, dv_sum) = elementwise.gated_backward(ds, g, v, double)
    d_out = correlate(flat, s.view(-1, channels))
    dg, dv = dg.view(-1, channels), dv.view(-1, channels)
    d_value, dm = correlate(dv, m.view(-1, channels)), product(dv, w_value.t()).view(shape)
    u = elementwise.activated(y, bias)
    d_gate, du = correlate(dg, u.view(-1, channels)), product(dg, w_gate.t()).view(shape)
    du_convs, d_convs = multi_order.backward(dm, u, table, convs, dilations)
    dq, dq_sums = elementwise.activated_backward(du, du_convs, y, bias)
    dq = dq.view(-1, channels)
    trained = scale, w_in, sigma, w_out, b_out = tuple(w.float() for w in (scale, w_in, sigma, w_out, b_out))
    d_in = correlate(dq, normed.view(-1, channels))
    d_normed = product(dq, decomposed_in.t()).view(shape)
    grads, d_mean = weight_gradients(trained, d_in, d_out, dt_sum, by_normed, dq_sums, mean, projected)
    d_normed = elementwise.add_scaled(d_normed, dt, scale, d_mean.div_(-shape[1] * shape[2]))
    d_scale, d_w_in, d_b_in, d_sigma, d_w_out, d_b_out = grads
    return d_normed, (d_scale, d_w_in, d_b_in, d_sigma, d_gate, dg_sum, *d_convs, d_value, dv_sum, d_w_out, d_b_out)
