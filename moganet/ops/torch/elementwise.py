"""Element-wise and depthwise steps of a block on maps (B, H, W, C), and their gradients, as PyTorch operators.

Nothing here knows autograd. ``moganet/ops/cpp/elementwise.cpp`` and ``ffn.cpp`` compute the same in C++.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from ...arch import split_channels
from . import depthwise

silu_backward = torch.ops.aten.silu_backward
gelu_backward = torch.ops.aten.gelu_backward


def activated(q: Tensor, bias: Tensor, inplace: bool) -> Tensor:
    """Return SiLU(q + bias). Adds the bias to ``q`` itself.

    Args:
        q: Map (B, H, W, C).
        bias: A bias for each image (B, C).
        inplace: Write the result into ``q`` too.
    """
    return F.silu(q.add_(bias[:, None, None]), inplace=inplace)


def activated_backward(a: Tensor, b: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient of ``q`` before its SiLU, and the sum of this gradient over each image (B, C).

    Args:
        a: One part of the gradient of the SiLU, overwritten.
        b: The other part, which is added.
        q: The map with its bias added.
    """
    d = silu_backward(a.add_(b), q)
    return d, d.sum((1, 2))


def multi_order(x: Tensor, convs: Sequence[Tensor], dilations: Sequence[int]) -> Tensor:
    """Return the multi-order depthwise convolutions of ``x`` (paper 4.3).

    Args:
        x: Map (B, H, W, C).
        convs: Weights and biases of the three convolutions.
        dilations: Their dilations.
    """
    w0, b0, w1, b1, w2, b2 = convs
    low, middle, _ = split_channels(x.shape[-1])
    y = depthwise.forward(x, w0, b0, dilations[0]).contiguous()
    for group, w, b, d in (
        (y[..., low : low + middle], w1, b1, dilations[1]),
        (y[..., low + middle :], w2, b2, dilations[2]),
    ):
        group.copy_(depthwise.forward(group, w, b, d))
    return y


def multi_order_backward(
    grad: Tensor, x: Tensor, convs: Sequence[Tensor], dilations: Sequence[int]
) -> tuple[Tensor, list[Tensor]]:
    """Return the gradient of ``x``, and those of the weights and biases in their order.

    Args:
        grad: Gradient of the output (B, H, W, C), overwritten.
        x: The input (B, H, W, C).
        convs: Weights and biases of the three convolutions.
        dilations: Their dilations.
    """
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
    """Return the gated aggregation of two maps (paper Eq. 8).

    Args:
        g: Output of the gate branch.
        v: Output of the value branch, of the same shape.
        double: Apply both activations twice.
        inplace: Overwrite ``g`` and ``v``.
    """
    g, v = _factors(g, v, double, inplace)
    return g.mul_(v)


def _factors(g: Tensor, v: Tensor, double: bool, inplace: bool = False) -> tuple[Tensor, Tensor]:
    """Return the two factors of Eq. 8."""
    g, v = F.silu(g, inplace=inplace), F.silu(v, inplace=inplace)
    return (F.silu(g, inplace=True), F.silu(v, inplace=True)) if double else (g, v)


def gated_backward(d: Tensor, g: Tensor, v: Tensor, double: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return ``gated`` again, the gradients of ``g`` and ``v``, and the sums of these two over pixels (C).

    Args:
        d: Gradient of the output (N, C), overwritten.
        g: Output of the gate branch (N, C).
        v: Output of the value branch (N, C).
        double: Apply both activations twice.
    """
    sg, sv = _factors(g, v, double)
    dv = _through_activations(d * sg, v, double)
    dg = _through_activations(d.mul_(sv), g, double)
    return sg.mul_(sv), dg, dv, dg.sum(0), dv.sum(0)


def _through_activations(grad: Tensor, pre: Tensor, double: bool) -> Tensor:
    if double:
        grad = silu_backward(grad, F.silu(pre))
    return silu_backward(grad, pre)


def hidden(h: Tensor, weight: Tensor, bias: Tensor, w_context: Tensor, b_context: Tensor) -> tuple[Tensor, Tensor]:
    """Return the hidden map after its GELU (N, rC), and the shared channel of Eq. 10 before its GELU (N).

    Args:
        h: Output of ``fc1`` (B, H, W, rC).
        weight: Weight of the depthwise convolution (rC, 1, 3, 3).
        bias: Its bias (rC).
        w_context: Weight of ``decompose`` (rC).
        b_context: Its bias (1).
    """
    g = depthwise.forward(h, weight, bias).reshape(-1, h.shape[-1])
    torch.ops.aten.gelu.out(g, out=g)
    return g, g.mv(w_context).add_(b_context)


def hidden_backward(
    d: Tensor, d_context: Tensor, h: Tensor, weight: Tensor, bias: Tensor, w_context: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the hidden map after its GELU again (N, rC), and the gradients behind ``hidden``.

    Args:
        d: Gradient of the first output (N, rC), without the part through the shared channel. It is overwritten.
        d_context: Gradient of the second output (N).
        h: Output of ``fc1`` (B, H, W, rC).
        weight: Weight of the depthwise convolution (rC, 1, 3, 3).
        bias: Its bias (rC).
        w_context: Weight of ``decompose`` (rC).

    Returns:
        The map, and the gradients of ``h``, ``weight``, ``bias``, ``w_context`` and ``fc1``'s bias.
    """
    channels = h.shape[-1]
    pre = depthwise.forward(h, weight, bias).reshape(-1, channels)
    g = F.gelu(pre)
    gelu_backward.grad_input(d.addr_(d_context, w_context), pre, grad_input=d)
    dh, d_weight = depthwise.backward(d.view(h.shape), h, weight)
    return g, dh, d_weight, d.sum(0), d_context @ g, dh.sum((0, 1, 2))


def add_spatial(t: Tensor, x: Tensor, normed: Tensor, scale: Tensor, mask: Tensor | None, out: Tensor) -> None:
    """Write x + mask * (t + scale * normed) into ``out``.

    Args:
        t: Output of ``proj_2`` (B, H, W, C), overwritten.
        x: The residual.
        normed: The normalised input.
        scale: Factors per channel (C).
        mask: Factors per image (B, 1, 1, 1), or None.
        out: Map that is written.
    """
    t = t.addcmul_(normed, scale)
    torch.add(x, t if mask is None else t.mul_(mask), out=out)


def shortcut_backward(grad: Tensor, normed: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradient of ``add_spatial``'s t, of a bias in t (C), and of the scale (C).

    Args:
        grad: Gradient of the output (B, H, W, C).
        normed: The normalised input.
        mask: Factors per image (B, 1, 1, 1), or None.
    """
    d = grad if mask is None else grad * mask
    return d, d.sum((0, 1, 2)), (d * normed).sum((0, 1, 2))


def add_scaled(t: Tensor, d: Tensor, scale: Tensor, out: Tensor) -> None:
    """Write t + scale * d into ``out``; maps (B, H, W, C), scale (C)."""
    torch.addcmul(t, d, scale, out=out)


def add_channel(t: Tensor, x: Tensor, context: Tensor, subtracted: Tensor, mask: Tensor | None, out: Tensor) -> None:
    """Write x + mask * (t - GELU(context) * subtracted) into ``out``.

    Args:
        t: Output of ``fc2`` (B, H, W, C), overwritten.
        x: The residual.
        context: The shared channel before its GELU (B * H * W).
        subtracted: Factors per channel (C).
        mask: Factors per image (B, 1, 1, 1), or None.
        out: Map that is written.
    """
    t.view(-1, t.shape[-1]).addr_(F.gelu(context), subtracted, alpha=-1)
    torch.add(x, t if mask is None else t.mul_(mask), out=out)


def context_backward(
    grad: Tensor, context: Tensor, subtracted: Tensor, mask: Tensor | None
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of ``add_channel``'s t, of the context, of a bias in t, and of -subtracted.

    Args:
        grad: Gradient of the output (B, H, W, C).
        context: The shared channel before its GELU (B * H * W).
        subtracted: Factors per channel (C).
        mask: Factors per image (B, 1, 1, 1), or None.
    """
    d = grad if mask is None else grad * mask
    rows = d.flatten(0, 2)
    return d, gelu_backward(rows.mv(subtracted).neg_(), context), rows.sum(0), F.gelu(context) @ rows


def accumulated(totals: list[Tensor], sums: list[Tensor]) -> list[Tensor]:
    """Return ``totals`` plus the sums of one more chunk of images; ``totals`` is empty at first, then overwritten."""
    return [a.add_(b) for a, b in zip(totals, sums, strict=True)] if totals else sums
