"""The spatial half of a block on a CPU: x + layer scale * (normed + aggregation(normed)), with a backward of its own.

Feature decomposition (Eq. 6 and 7) is linear, and the mean of P n is P times the mean of n:

    P n + s (P n - mean of P n) = diag(1 + s) P n - s * P (mean of n)

so that it costs a product of a matrix with one vector per image. Layer scale is folded into the last convolution.
What is cheap to compute again (activations, the 5x5 convolution) is not kept for the backward pass.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .. import dispatch
from ..cpp import bindings
from ..cpp.bindings import MAPS
from . import elementwise
from .matmul import images_at_once, product


def decomposed(normed: Tensor, sigma: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The first convolution with feature decomposition: weight, bias per image, means before and after."""
    mean = normed.mean((1, 2), dtype=w.dtype)
    projected = product(mean, w)
    return torch.addcmul(w, w, sigma[:, None]), b - sigma * projected, mean, projected


def forward(
    x: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...], options: tuple, kept: list | None
) -> Tensor:
    """All maps (B, H, W, C). ``kept`` is given what the backward pass needs: one tensor, or four per images at once."""
    scale, w_in, b_in, sigma, w_gate, b_gate, *convs, w_value, b_value, w_out, b_out = weights
    double, dilations = options
    channels = x.shape[-1]
    w_in, b_in, _, _ = decomposed(normed, sigma, w_in, b_in)
    w_out, b_out = scale[:, None] * w_out, scale * b_out
    if dispatch.compiled(x, convs[::2]):
        given = (w_in, b_in, None, w_gate, b_gate, *convs, w_value, b_value, w_out, b_out, scale)
        return bindings.spatial(x, normed, mask, given, options, kept)
    out = torch.empty_like(x)
    step = images_at_once(x, MAPS * channels)
    for i in range(0, len(x), step):
        images = slice(i, i + step)
        part = normed[images]
        q = product(part.flatten(0, 2), w_in).view(part.shape)
        u = elementwise.activated(q, b_in[images], inplace=kept is None)
        g = product(u.view(-1, channels), w_gate, b_gate)
        m = elementwise.multi_order(u, convs, dilations).view(-1, channels)
        v = product(m, w_value, b_value)
        if kept is not None:
            kept += [q, g, m, v]
        t = product(elementwise.gated(g, v, double, inplace=kept is None), w_out, b_out).view(part.shape)
        elementwise.add_spatial(t, x[images], part, scale, None if mask is None else mask[images], out[images])
    return out


def backward(
    grad: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...], options: tuple, kept: list
) -> tuple:
    """Gradients of ``normed`` and of all weights, in their order."""
    scale, w_in, b_in, sigma, w_gate, _, *convs, w_value, _, w_out, b_out = weights
    scaled_in, _, mean, projected = decomposed(normed, sigma, w_in, b_in)
    given = (scaled_in, w_gate, *convs, w_value, scale[:, None] * w_out, scale)
    compute = bindings.spatial_backward if len(kept) == 1 else _by_pytorch
    grad_normed, sums = compute(grad, normed, mask, given, options, kept[0] if len(kept) == 1 else kept)
    dt_sum, by_normed, d_out, d_value, d_b_value, d_gate, d_b_gate, d_in, *d_convs, dq_sums = sums
    trained = scale, w_in, sigma, w_out, b_out
    grads, d_mean = weight_gradients(trained, d_in, d_out, dt_sum, by_normed, dq_sums, mean, projected)
    grad_normed.sub_(d_mean.div_(normed.shape[1] * normed.shape[2])[:, None, None])
    d_scale, d_in, d_b_in, d_sigma, d_out, d_b_out = grads
    return grad_normed, (d_scale, d_in, d_b_in, d_sigma, d_gate, d_b_gate, *d_convs, d_value, d_b_value, d_out, d_b_out)


def _by_pytorch(
    grad: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...], options: tuple, kept: list
) -> tuple[Tensor, list[Tensor]]:
    """What ``halves.spatial_backward`` gives."""
    scaled_in, w_gate, *convs, w_value, scaled_out, scale = weights
    double, dilations = options
    channels = normed.shape[-1]
    grad_normed = torch.empty_like(normed)
    biases, sums = [], None
    step = len(kept[0])
    for i in range(0, len(normed), step):
        q, g, m, v = kept[4 * (i // step) : 4 * (i // step) + 4]
        images = slice(i, i + step)
        part = normed[images]
        dt, *shared = elementwise.shortcut_backward(grad[images], part, None if mask is None else mask[images])
        flat = dt.flatten(0, 2)
        s, dg, dv, dg_sum, dv_sum = elementwise.gated_backward(product(flat, scaled_out.t()), g, v, double)
        u = F.silu(q)
        new = [
            *shared,
            elementwise.correlate(flat, s),
            elementwise.correlate(dv, m),
            dv_sum,
            elementwise.correlate(dg, u.view(-1, channels)),
            dg_sum,
        ]
        du, d_convs = elementwise.multi_order_backward(product(dv, w_value.t()).view(part.shape), u, convs, dilations)
        dq, dq_sum = elementwise.activated_backward(product(dg, w_gate.t()).view(part.shape), du, q)
        biases.append(dq_sum)
        new += [elementwise.correlate(dq.view(-1, channels), part.flatten(0, 2)), *d_convs]
        d_part = product(dq.view(-1, channels), scaled_in.t()).view(part.shape)
        elementwise.add_scaled(d_part, dt, scale, grad_normed[images])
        sums = new if sums is None else [a.add_(b) for a, b in zip(sums, new, strict=True)]
    return grad_normed, [*sums, torch.cat(biases)]


def weight_gradients(
    weights: tuple[Tensor, ...],
    d_in: Tensor,
    d_out: Tensor,
    dt_sum: Tensor,
    by_normed: Tensor,
    dq_sums: Tensor,
    mean: Tensor,
    projected: Tensor,
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Of the layer scale, of ``proj_1`` and gamma_s, and of ``proj_2``; and that of the means of ``normed``, its sign
    turned.

    Args:
        weights: The layer scale, ``proj_1``'s weight, gamma_s, and ``proj_2``'s weight and bias.
        d_in: Gradient of ``proj_1``'s weight, with the decomposition in it and but for what goes by the means.
        d_out: Gradient of ``proj_2``'s weight, with the layer scale in it.
        dt_sum, by_normed: Sums over positions of what the layer scale multiplies, plain and times ``normed``.
        dq_sums: Those of the gradient before the first activation, (B, C).
        mean, projected: As ``decomposed`` gives them.
    """
    scale, w_in, sigma, w_out, b_out = weights
    through_mean = dq_sums * sigma
    d_sigma = torch.linalg.vecdot(d_in, w_in) - (dq_sums * projected).sum(0)
    d_w_in = torch.addcmul(d_in, d_in, sigma[:, None]) - through_mean.t() @ mean
    d_scale = torch.linalg.vecdot(d_out, w_out) + b_out * dt_sum + by_normed
    grads = d_scale, d_w_in, dq_sums.sum(0), d_sigma, scale[:, None] * d_out, scale * dt_sum
    return grads, product(through_mean, w_in.t())
