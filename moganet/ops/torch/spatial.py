"""The spatial branch as PyTorch operators on CPUs, with a backward pass of its own.

``gradients.py`` has the algebra. Activations and the first depthwise convolution, which are cheap to compute, are
computed again in the backward pass instead of saved.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ..cpu_memory import SPATIAL_MAPS, chunks, empty_map
from ..gradients import FoldedSpatial, SpatialSums, decomposed, folded_spatial, spatial_gradients
from ..interface import Options
from . import elementwise
from .matmul import matmul, transposed_matmul

# Maps that the forward pass saves for each chunk of images.
SAVED = 4


def forward(
    x: Tensor,
    normed: Tensor,
    mask: Tensor | None,
    weights: Sequence[Tensor],
    options: Options,
    saved: list[Tensor] | None,
) -> Tensor:
    """Compute x + mask * branch(normed); see ``interface.Forward``."""
    _, w_in, b_in, sigma, *_ = weights
    folded = folded_spatial(weights, decomposed(normed, sigma, w_in, b_in))
    return folded_forward(x, normed, mask, folded, options, saved)


def folded_forward(
    x: Tensor,
    normed: Tensor,
    mask: Tensor | None,
    weights: FoldedSpatial,
    options: Options,
    saved: list[Tensor] | None = None,
) -> Tensor:
    """Compute x + mask * branch(normed) with folded weights.

    Args:
        x: The residual (B, H, W, C).
        normed: The normalised input (B, H, W, C); in a folded block ``x`` itself.
        mask: Factors of stochastic depth (B, 1, 1, 1), or None.
        weights: Folded weights.
        options: Settings of the block.
        saved: Receives ``SAVED`` maps for each chunk of images.
    """
    w, channels, inplace = weights, x.shape[-1], saved is None
    out = empty_map(x)
    for images in chunks(x, SPATIAL_MAPS * channels):
        part = normed[images]
        q = matmul(part.flatten(0, 2), w.proj_1).view(part.shape)
        if w.mean is None:
            bias = w.proj_1_bias[images]
        else:
            bias = torch.addcmul(w.proj_1_bias, w.mean, q.mean((1, 2)), value=-1)
        u = elementwise.activated(q, bias, inplace)
        g = matmul(u.view(-1, channels), w.gate, w.gate_bias)
        m = elementwise.multi_order(u, w.convolutions, options.dilations).view(-1, channels)
        v = matmul(m, w.value, w.value_bias)
        if saved is not None:
            saved += [q, g, m, v]
        s = elementwise.gated(g, v, options.double_gate, inplace)
        t = matmul(s, w.proj_2, w.proj_2_bias).view(part.shape)
        elementwise.add_spatial(t, x[images], part, w.shortcut, None if mask is None else mask[images], out[images])
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
    _, w_in, b_in, sigma, *_ = weights
    proj_1 = decomposed(normed, sigma, w_in, b_in)
    w, channels = folded_spatial(weights, proj_1), normed.shape[-1]
    grad_normed = torch.empty_like(normed)
    sums: list[Tensor] = []
    biases = []
    for i, images in enumerate(chunks(normed, SPATIAL_MAPS * channels)):
        q, g, m, v = saved[SAVED * i : SAVED * (i + 1)]
        part = normed[images]
        dt, *shared = elementwise.shortcut_backward(grad[images], part, None if mask is None else mask[images])
        ds = matmul(dt.flatten(0, 2), w.proj_2.t())
        s, dg, dv, dg_sum, dv_sum = elementwise.gated_backward(ds, g, v, options.double_gate)
        u = F.silu(q)
        chunk = [
            *shared,
            transposed_matmul(dt.flatten(0, 2), s),
            transposed_matmul(dv, m),
            dv_sum,
            transposed_matmul(dg, u.view(-1, channels)),
            dg_sum,
        ]
        dm = matmul(dv, w.value.t()).view(part.shape)
        du, d_convs = elementwise.multi_order_backward(dm, u, w.convolutions, options.dilations)
        dq, dq_sum = elementwise.activated_backward(matmul(dg, w.gate.t()).view(part.shape), du, q)
        biases.append(dq_sum)
        chunk += [transposed_matmul(dq.view(-1, channels), part.flatten(0, 2)), *d_convs]
        d_part = matmul(dq.view(-1, channels), w.proj_1.t()).view(part.shape)
        elementwise.add_scaled(d_part, dt, w.shortcut, grad_normed[images])
        sums = elementwise.accumulated(sums, chunk)
    grads, d_mean = spatial_gradients(weights, SpatialSums.of(sums, torch.cat(biases)), proj_1)
    grad_normed.sub_(d_mean.div_(normed.shape[1] * normed.shape[2])[:, None, None])
    return grad_normed, grads
