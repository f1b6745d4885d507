"""The channel half of a block on a CPU: x + layer scale * FFN(normed), image by image, with a backward of its own.

Layer scale, gamma_c and the one channel that Eq. 10 subtracts are folded into the last 1x1 convolution:

    t = GELU(dw(W1 n)) (W2 diag(1 + s))^T - GELU(w g) (W2 s)^T

Hidden maps are kept before the depthwise convolution only; the two after it are computed again in the backward pass,
which takes less time than to write and read them. A few images at a time, they stay in the processor's cache.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from . import depthwise
from .products import correlate, images_at_once, product

gelu_backward = torch.ops.aten.gelu_backward


def folded(scale: Tensor, sigma: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The last convolution with all that is linear: its weight, its bias, and what the context is multiplied by."""
    scaled = scale[:, None] * weight
    return torch.addcmul(scaled, scaled, sigma), scale * bias, scaled @ sigma


def forward(x: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...], options: tuple,
            kept: list | None) -> Tensor:  # fmt: skip
    """All maps (B, H, W, C). ``kept`` is given what the backward pass needs, per group of images."""
    scale, w1, b1, w_dw, b_dw, w_context, b_context, sigma, w2, b2 = weights
    w2, b2, subtracted = folded(scale, sigma, w2, b2)
    out = torch.empty_like(x)
    hidden = len(w1)
    step = images_at_once(x, hidden)
    for i in range(0, len(x), step):
        part = normed[i : i + step]
        h = product(part.flatten(0, 2), w1, b1)
        g = depthwise.forward(h.view(*part.shape[:3], hidden), w_dw, b_dw).reshape(-1, hidden)
        torch.ops.aten.gelu.out(g, out=g)
        context = g.mv(w_context).add_(b_context)
        t = product(g, w2, b2).addr_(F.gelu(context), subtracted, alpha=-1).view(part.shape)
        if mask is not None:
            t.mul_(mask[i : i + step])
        torch.add(x[i : i + step], t, out=out[i : i + step])
        if kept is not None:
            kept += [h, context]
    return out


def backward(grad: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...], options: tuple,
             kept: list) -> tuple:  # fmt: skip
    """Gradients of ``normed`` and of all weights, in their order."""
    scale, w1, _, w_dw, b_dw, w_context, _, sigma, w2, b2 = weights
    folded_w2, _, subtracted = folded(scale, sigma, w2, b2)
    hidden = len(w1)
    grad_normed = torch.empty_like(normed)
    sums = None
    step = len(kept[0]) // (normed.shape[1] * normed.shape[2])
    for i in range(0, len(normed), step):
        h, context = kept[2 * (i // step) : 2 * (i // step) + 2]
        part = normed[i : i + step]
        dt = (grad[i : i + step] if mask is None else grad[i : i + step] * mask[i : i + step]).flatten(0, 2)
        pre = depthwise.forward(h.view(*part.shape[:3], hidden), w_dw, b_dw).reshape(-1, hidden)
        g = F.gelu(pre)
        d_context = gelu_backward(dt.mv(subtracted).neg_(), context)
        dg = product(dt, folded_w2.t()).addr_(d_context, w_context)
        new = [correlate(dt, g), F.gelu(context) @ dt, dt.sum(0), d_context @ g, d_context.sum(0, keepdim=True)]
        gelu_backward.grad_input(dg, pre, grad_input=dg)
        dh, d_dw = depthwise.backward(dg.view(*part.shape[:3], hidden), h.view(*part.shape[:3], hidden), w_dw)
        dh = dh.reshape(-1, hidden)
        grad_normed[i : i + step] = product(dh, w1.t()).view(part.shape)
        new += [correlate(part.flatten(0, 2), dh), dh.sum(0), d_dw, dg.sum(0)]
        sums = new if sums is None else [a.add_(b) for a, b in zip(sums, new, strict=True)]
    m, by_context, dt_sum, d_w_context, d_b_context, d_w1, d_b1, d_dw, d_b_dw = sums
    unscaled = m - by_context[:, None]
    d_sigma = scale @ (unscaled * w2)
    unscaled = torch.addcmul(m, unscaled, sigma)
    d_scale = torch.linalg.vecdot(unscaled, w2) + b2 * dt_sum
    return grad_normed, (d_scale, d_w1.t(), d_b1, d_dw, d_b_dw, d_w_context, d_b_context, d_sigma,
                         unscaled.mul_(scale[:, None]), scale * dt_sum)  # fmt: skip
