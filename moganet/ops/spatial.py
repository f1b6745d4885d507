"""The spatial half of a block on a CPU: x + layer scale * (normed + aggregation(normed)), with a backward of its own.

Feature decomposition (Eq. 6 and 7) is linear, and the mean of P n is P times the mean of n:

    P n + s (P n - mean of P n) = diag(1 + s) P n - s * P (mean of n)

so that it costs a product of a matrix with one vector per image. Layer scale is folded into the last convolution.
What is cheap to compute again (activations, the 5x5 convolution) is not kept for the backward pass.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from . import depthwise
from .products import correlate, images_at_once, product
from .reference import split_channels

silu_backward = torch.ops.aten.silu_backward
# Maps of C channels that are at work at once.
MAPS = 6


def multi_order(x: Tensor, convs: tuple[Tensor, ...], dilations: tuple[int, ...]) -> Tensor:
    """The 5x5 of all channels, then the dilated ones in place."""
    w0, b0, w1, b1, w2, b2 = convs
    low, middle, _ = split_channels(x.shape[-1])
    y = depthwise.forward(x, w0, b0, dilations[0]).contiguous()
    for group, w, b, d in (
        (y[..., low : low + middle], w1, b1, dilations[1]), (y[..., low + middle :], w2, b2, dilations[2])
    ):  # fmt: skip
        group.copy_(depthwise.forward(group, w, b, d))
    return y


def multi_order_backward(grad: Tensor, x: Tensor, convs: tuple[Tensor, ...], dilations: tuple[int, ...]) -> tuple:
    """Gradients of ``x`` and of the three weights and biases. Overwrites ``grad``."""
    w0, b0, w1, _, w2, _ = convs
    low, middle, _ = split_channels(x.shape[-1])
    y = depthwise.forward(x, w0, b0, dilations[0])
    grads = []
    for group, w, d in ((slice(low, low + middle), w1, dilations[1]), (slice(low + middle, None), w2, dilations[2])):
        part = grad[..., group]
        bias = part.sum((0, 1, 2))
        dx, dw = depthwise.backward(part, y[..., group], w, d)
        grads += [dw, bias]
        grad[..., group] = dx
    dx, dw = depthwise.backward(grad, x, w0, dilations[0])
    return dx, [dw, grad.sum((0, 1, 2)), *grads]


def gated(g: Tensor, v: Tensor, double: bool) -> tuple[Tensor, Tensor]:
    """The two factors of Eq. 8."""
    g, v = F.silu(g), F.silu(v)
    return (F.silu(g), F.silu(v)) if double else (g, v)


def gated_backward(grad: Tensor, pre: Tensor, double: bool) -> Tensor:
    """Through the one or two activations of a factor."""
    if double:
        grad = silu_backward(grad, F.silu(pre))
    return silu_backward(grad, pre)


def decomposed(normed: Tensor, sigma: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The first convolution with feature decomposition: weight, bias per image, means before and after."""
    mean = normed.mean((1, 2))
    projected = mean @ w.t()
    return torch.addcmul(w, w, sigma[:, None]), b - sigma * projected, mean, projected


def forward(x: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...], options: tuple,
            kept: list | None) -> Tensor:  # fmt: skip
    """All maps (B, H, W, C). ``kept`` is given what the backward pass needs, per group of images."""
    scale, w_in, b_in, sigma, w_gate, b_gate, *convs, w_value, b_value, w_out, b_out = weights
    double, dilations = options
    channels = x.shape[-1]
    w_in, b_in, _, _ = decomposed(normed, sigma, w_in, b_in)
    w_out, b_out = scale[:, None] * w_out, scale * b_out
    out = torch.empty_like(x)
    step = images_at_once(x, MAPS * channels)
    for i in range(0, len(x), step):
        part = normed[i : i + step]
        q = product(part.flatten(0, 2), w_in).view(part.shape).add_(b_in[i : i + step, None, None])
        u = F.silu(q)
        g = product(u.view(-1, channels), w_gate, b_gate)
        m = multi_order(u, convs, dilations).view(-1, channels)
        v = product(m, w_value, b_value)
        sg, sv = gated(g, v, double)
        t = product(sg.mul_(sv), w_out, b_out).view(part.shape).addcmul_(part, scale)
        if mask is not None:
            t.mul_(mask[i : i + step])
        torch.add(x[i : i + step], t, out=out[i : i + step])
        if kept is not None:
            kept += [q, g, m, v]
    return out


def backward(grad: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...], options: tuple,
             kept: list) -> tuple:  # fmt: skip
    """Gradients of ``normed`` and of all weights, in their order."""
    scale, w_in, b_in, sigma, w_gate, _, *convs, w_value, _, w_out, b_out = weights
    double, dilations = options
    channels = normed.shape[-1]
    scaled_in, _, mean, projected = decomposed(normed, sigma, w_in, b_in)
    scaled_out = scale[:, None] * w_out
    grad_normed = torch.empty_like(normed)
    biases, sums = [], None
    step = len(kept[0])
    for i in range(0, len(normed), step):
        q, g, m, v = kept[4 * (i // step) : 4 * (i // step) + 4]
        part = normed[i : i + step]
        dt = grad[i : i + step] if mask is None else grad[i : i + step] * mask[i : i + step]
        flat = dt.flatten(0, 2)
        sg, sv = gated(g, v, double)
        d = product(flat, scaled_out.t())
        dv = gated_backward(d * sg, v, double)
        dg = gated_backward(d.mul_(sv), g, double)
        u = F.silu(q)
        new = [correlate(flat, sg.mul_(sv)), flat.sum(0), (dt * part).sum((0, 1, 2)), correlate(dv, m), dv.sum(0),
               correlate(dg, u.view(-1, channels)), dg.sum(0)]  # fmt: skip
        du, d_convs = multi_order_backward(product(dv, w_value.t()).view(part.shape), u, convs, dilations)
        dq = silu_backward(product(dg, w_gate.t()).view(part.shape).add_(du), q)
        biases.append(dq.sum((1, 2)))
        new += [correlate(dq.view(-1, channels), part.flatten(0, 2)), *d_convs]
        torch.addcmul(product(dq.view(-1, channels), scaled_in.t()).view(part.shape), dt, scale,
                      out=grad_normed[i : i + step])  # fmt: skip
        sums = new if sums is None else [a.add_(b) for a, b in zip(sums, new, strict=True)]
    d_out, dt_sum, by_normed, d_value, d_b_value, d_gate, d_b_gate, d_in, *d_convs = sums
    bias = torch.cat(biases)
    through_mean = bias * sigma
    grad_normed.sub_((through_mean @ w_in).div_(normed.shape[1] * normed.shape[2])[:, None, None])
    d_sigma = torch.linalg.vecdot(d_in, w_in) - (bias * projected).sum(0)
    d_in = torch.addcmul(d_in, d_in, sigma[:, None]) - through_mean.t() @ mean
    d_scale = torch.linalg.vecdot(d_out, w_out) + b_out * dt_sum + by_normed
    return grad_normed, (d_scale, d_in, bias.sum(0), d_sigma, d_gate, d_b_gate, *d_convs, d_value, d_b_value,
                         scale[:, None] * d_out, scale * dt_sum)  # fmt: skip
