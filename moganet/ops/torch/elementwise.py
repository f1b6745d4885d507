"""What lies between the matrix products of a block on a CPU, and gradients of their weights, by PyTorch's operations.

``moganet/ops/cpp/bindings.py`` has the whole of it, compiled. Maps are (B, H, W, C). Nothing here knows autograd.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from ...arch import split_channels
from . import depthwise

silu_backward = torch.ops.aten.silu_backward
gelu_backward = torch.ops.aten.gelu_backward


def activated(q: Tensor, bias: Tensor, inplace: bool) -> Tensor:
    """SiLU(q + bias), the bias (B, C) added to ``q`` itself; ``inplace`` gives it as ``q``."""
    return F.silu(q.add_(bias[:, None, None]), inplace=inplace)


def activated_backward(a: Tensor, b: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """From the sum of two gradients, that of ``q`` and its sum over each image (B, C). Overwrites ``a``."""
    d = silu_backward(a.add_(b), q)
    return d, d.sum((1, 2))


def multi_order(x: Tensor, convs: tuple[Tensor, ...], dilations: tuple[int, ...]) -> Tensor:
    """Multi-order depthwise convolutions (paper 4.3): the 5x5 of all channels, then the dilated ones in place."""
    w0, b0, w1, b1, w2, b2 = convs
    low, middle, _ = split_channels(x.shape[-1])
    y = depthwise.forward(x, w0, b0, dilations[0]).contiguous()
    for group, w, b, d in (
        (y[..., low : low + middle], w1, b1, dilations[1]),
        (y[..., low + middle :], w2, b2, dilations[2]),
    ):
        group.copy_(depthwise.forward(group, w, b, d))
    return y


def multi_order_backward(grad: Tensor, x: Tensor, convs: tuple[Tensor, ...], dilations: tuple[int, ...]) -> tuple:
    """Gradients of ``x`` and of the three weights and biases, in their order. Overwrites ``grad``."""
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


def gated(g: Tensor, v: Tensor, double: bool, inplace: bool) -> Tensor:
    """Gated aggregation (paper Eq. 8); ``double`` has activations twice, ``inplace`` overwrites ``g`` and ``v``."""
    g, v = factors(g, v, double, inplace)
    return g.mul_(v)


def factors(g: Tensor, v: Tensor, double: bool, inplace: bool = False) -> tuple[Tensor, Tensor]:
    """The two factors of Eq. 8."""
    g, v = F.silu(g, inplace=inplace), F.silu(v, inplace=inplace)
    return (F.silu(g, inplace=True), F.silu(v, inplace=True)) if double else (g, v)


def gated_backward(d: Tensor, g: Tensor, v: Tensor, double: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """``gated`` once more, the gradients of ``g`` and ``v``, and their sums over pixels (C). Overwrites ``d``."""
    sg, sv = factors(g, v, double)
    dv = _through_activations(d * sg, v, double)
    dg = _through_activations(d.mul_(sv), g, double)
    return sg.mul_(sv), dg, dv, dg.sum(0), dv.sum(0)


def _through_activations(grad: Tensor, pre: Tensor, double: bool) -> Tensor:
    if double:
        grad = silu_backward(grad, F.silu(pre))
    return silu_backward(grad, pre)


def hidden(h: Tensor, weight: Tensor, bias: Tensor, w_context: Tensor, b_context: Tensor) -> tuple[Tensor, Tensor]:
    """GELU of the depthwise 3x3 of ``h``, as (N, C), and what the context is the GELU of (paper Eq. 10), as (N)."""
    g = depthwise.forward(h, weight, bias).reshape(-1, h.shape[-1])
    torch.ops.aten.gelu.out(g, out=g)
    return g, g.mv(w_context).add_(b_context)


def hidden_backward(d: Tensor, d_context: Tensor, h: Tensor, weight: Tensor, bias: Tensor, w_context: Tensor) -> tuple:
    """From the gradients of the two outputs of ``hidden``, that of the first without what comes through the second.

    Returns:
        The first output (N, C) once more and the gradients of h, weight, bias, w_context and, since a bias was added
        to h, the sum of its gradient. Overwrites ``d``.
    """
    channels = h.shape[-1]
    pre = depthwise.forward(h, weight, bias).reshape(-1, channels)
    g = F.gelu(pre)
    gelu_backward.grad_input(d.addr_(d_context, w_context), pre, grad_input=d)
    dh, d_weight = depthwise.backward(d.view(h.shape), h, weight)
    return g, dh, d_weight, d.sum(0), d_context @ g, dh.sum((0, 1, 2))


def add_spatial(t: Tensor, x: Tensor, normed: Tensor, scale: Tensor, mask: Tensor | None, out: Tensor) -> None:
    """x + mask * (t + scale * normed), mask (B, 1, 1, 1), into ``out``. Overwrites ``t``."""
    t = t.addcmul_(normed, scale)
    torch.add(x, t if mask is None else t.mul_(mask), out=out)


def shortcut_backward(grad: Tensor, normed: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """From the gradient of what ``add_spatial`` gives: that of t, and the gradients of a bias in t and of the scale."""
    d = grad if mask is None else grad * mask
    return d, d.sum((0, 1, 2)), (d * normed).sum((0, 1, 2))


def add_scaled(t: Tensor, d: Tensor, scale: Tensor, out: Tensor) -> None:
    """t + scale * d, into ``out``."""
    torch.addcmul(t, d, scale, out=out)


def add_channel(t: Tensor, x: Tensor, context: Tensor, subtracted: Tensor, mask: Tensor | None, out: Tensor) -> None:
    """x + mask * (t - GELU(context) * subtracted), context (B * H * W), into ``out``. Overwrites ``t``."""
    t.view(-1, t.shape[-1]).addr_(F.gelu(context), subtracted, alpha=-1)
    torch.add(x, t if mask is None else t.mul_(mask), out=out)


def context_backward(grad: Tensor, context: Tensor, subtracted: Tensor, mask: Tensor | None) -> tuple:
    """From the gradient of what ``add_channel`` gives: those of t, the context, a bias in t, and -subtracted."""
    d = grad if mask is None else grad * mask
    flat = d.flatten(0, 2)
    return d, gelu_backward(flat.mv(subtracted).neg_(), context), flat.sum(0), F.gelu(context) @ flat


def accumulated(totals: list[Tensor], sums: list[Tensor]) -> list[Tensor]:
    """Return ``totals`` plus the sums of one more chunk of images; ``totals`` is empty at first, then overwritten."""
    return [a.add_(b) for a, b in zip(totals, sums, strict=True)] if totals else sums
