"""The channel half of a block on a CPU: x + layer scale * FFN(normed), image by image, with a backward of its own.

Layer scale, gamma_c and the one channel that Eq. 10 subtracts are folded into the last 1x1 convolution:

    t = GELU(dw(W1 n)) (W2 diag(1 + s))^T - GELU(w g) (W2 s)^T

Hidden maps are kept before the depthwise convolution only; the two after it are computed again in the backward pass,
which takes less time than to write and read them. A few images at a time, they stay in the processor's cache.
"""

import torch
from torch import Tensor

from .. import dispatch
from ..cpp import bindings
from . import elementwise
from .matmul import images_at_once, product


def forward(
    x: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...], options: tuple, kept: list | None
) -> Tensor:
    """All maps (B, H, W, C). ``kept`` is given what the backward pass needs: one tensor, or two per images at once."""
    scale, w1, b1, w_dw, b_dw, w_context, b_context, sigma, w2, b2 = weights
    hidden, compiled = len(w1), dispatch.compiled(x)
    w2, subtracted = (bindings if compiled else elementwise).folded(w2, scale, sigma)
    b2 = scale * b2
    if compiled:
        given = (w1, b1, w_dw, b_dw, w_context, b_context, w2, b2, subtracted)
        return bindings.channel(x, normed, mask, given, kept)
    out = torch.empty_like(x)
    step = images_at_once(x, hidden)
    for i in range(0, len(x), step):
        images = slice(i, i + step)
        part = normed[images]
        h = product(part.flatten(0, 2), w1, b1).view(*part.shape[:3], hidden)
        g, context = elementwise.hidden(h, w_dw, b_dw, w_context, b_context)
        t = product(g, w2, b2).view(part.shape)
        elementwise.add_channel(t, x[images], context, subtracted, None if mask is None else mask[images], out[images])
        if kept is not None:
            kept += [h, context]
    return out


def backward(
    grad: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...], options: tuple, kept: list
) -> tuple:
    """Gradients of ``normed`` and of all weights, in their order."""
    scale, w1, _, w_dw, b_dw, w_context, _, sigma, w2, b2 = weights
    module, compute = (bindings, bindings.channel_backward) if len(kept) == 1 else (elementwise, _by_pytorch)
    folded_w2, subtracted = module.folded(w2, scale, sigma)
    given = folded_w2, subtracted, w1, w_dw, b_dw, w_context
    grad_normed, sums = compute(grad, normed, mask, given, kept[0] if len(kept) == 1 else kept)
    dt_sum, by_context, m, d_b_context, d_w1, d_dw, d_b_dw, d_w_context, d_b1 = sums
    d_w2, d_scale, d_sigma = module.folded_backward(m, by_context, w2, scale, sigma)
    return grad_normed, (
        d_scale + b2 * dt_sum,
        d_w1,
        d_b1,
        d_dw,
        d_b_dw,
        d_w_context,
        d_b_context,
        d_sigma,
        d_w2,
        scale * dt_sum,
    )


def _by_pytorch(
    grad: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...], kept: list
) -> tuple[Tensor, list[Tensor]]:
    """What ``halves.channel_backward`` gives."""
    folded_w2, subtracted, w1, w_dw, b_dw, w_context = weights
    grad_normed = torch.empty_like(normed)
    sums = None
    step = len(kept[0])
    for i in range(0, len(normed), step):
        h, context = kept[2 * (i // step) : 2 * (i // step) + 2]
        images = slice(i, i + step)
        part = normed[images]
        dt, d_context, *shared = elementwise.context_backward(
            grad[images], context, subtracted, None if mask is None else mask[images]
        )
        dt = dt.flatten(0, 2)
        dg = product(dt, folded_w2.t())
        g, dh, *d_passes = elementwise.hidden_backward(dg, d_context, h, w_dw, b_dw, w_context)
        dh = dh.reshape(-1, len(w1))
        grad_normed[images] = product(dh, w1.t()).view(part.shape)
        new = [
            *shared,
            elementwise.correlate(dt, g),
            d_context.sum(0, keepdim=True),
            elementwise.correlate(dh, part.flatten(0, 2)),
            *d_passes,
        ]
        sums = new if sums is None else [a.add_(b) for a, b in zip(sums, new, strict=True)]
    return grad_normed, sums
