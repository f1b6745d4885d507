"""What lies between the matrix products of a block on a CPU, compiled: the functions of ``moganet/ops/passes.py``."""

from collections.abc import Sequence
from ctypes import Structure, byref, c_int, c_void_p

import torch
from torch import Tensor

from .. import passes as by_pytorch
from ..reference import split_channels
from .library import load

# The widest kernel whose gradient is compiled.
MOST_TAPS = 7
TAPS = 9


class Convolution(Structure):
    _fields_ = [('weight', c_void_p), ('bias', c_void_p), ('side', c_int), ('dilation', c_int), ('first', c_int)]


class Maps(Structure):
    """(batch, height, width, channels)."""

    _fields_ = [(name, c_int) for name in ('batch', 'height', 'width', 'channels', 'threads')]


class MultiOrder(Structure):
    _fields_ = [*Maps._fields_, ('convs', Convolution * 3)]


class Gradients(Structure):
    _fields_ = [('weight', c_void_p * 3), ('bias', c_void_p * 3)]


class Products(Structure):
    """(pixels, left) and (pixels, right)."""

    _fields_ = [(name, c_int) for name in ('pixels', 'left', 'right', 'threads')]


class Product(Structure):
    """(pixels, inputs) and (inputs, outputs), or ``turned``, (outputs, inputs), whose rows lie ``stride`` apart."""

    _fields_ = [(name, c_int) for name in ('pixels', 'inputs', 'outputs', 'stride', 'turned', 'threads')]


class Matrix(Structure):
    _fields_ = [(name, c_int) for name in ('rows', 'columns', 'threads')]


class Pixels(Structure):
    """(batch, pixels of an image, channels)."""

    _fields_ = [(name, c_int) for name in ('batch', 'pixels', 'channels', 'threads')]


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    (outputs, inputs), turned = weight.shape, weight.is_contiguous()
    if not (turned or weight.t().is_contiguous()):
        return by_pytorch.product(x, weight, bias)
    bias = x.new_zeros(outputs) if bias is None else bias
    problem = Product(len(x), inputs, outputs, inputs if turned else outputs, turned, torch.get_num_threads())
    out = x.new_empty(len(x), outputs)
    _call('product', problem, x, weight if turned else weight.t(), bias, out)
    return out


def activated(q: Tensor, bias: Tensor, inplace: bool) -> Tensor:
    u = q if inplace else torch.empty_like(q)
    _call('silu', _pixels(q), q, bias, u)
    return u


def activated_backward(a: Tensor, b: Tensor, q: Tensor) -> tuple[Tensor, Tensor]:
    problem = _pixels(q)
    sums = _sums(problem, 1)
    _call('silu_backward', problem, a, b, q, a, sums)
    return a, sums.sum(1)[:, 0]


def multi_order(x: Tensor, convs: tuple[Tensor, ...], dilations: tuple[int, ...]) -> Tensor:
    convs = [t.contiguous() for t in convs]
    if not _compiled(convs[::2]):
        return by_pytorch.multi_order(x, convs, dilations)
    out = torch.empty_like(x)
    _call('multi_order', _multi_order(x, convs, dilations), x, out)
    return out


def multi_order_backward(grad: Tensor, x: Tensor, convs: tuple[Tensor, ...], dilations: tuple[int, ...]) -> tuple:
    convs = [t.contiguous() for t in convs]
    if not _compiled(convs[::2]):
        return by_pytorch.multi_order_backward(grad, x, convs, dilations)
    out = torch.empty_like(x)
    grads = [x.new_empty(len(x), *w.shape) for w in convs]
    to = Gradients(*((c_void_p * 3)(*(t.data_ptr() for t in grads[i::2])) for i in (0, 1)))
    _call('multi_order_backward', _multi_order(x, convs, dilations), x, grad, out, byref(to))
    return out, [t.sum(0) for t in grads]


def gated(g: Tensor, v: Tensor, double: bool, inplace: bool) -> Tensor:
    out = g if inplace else torch.empty_like(g)
    _call('gate', _pixels(g), g, v, int(double), out)
    return out


def gated_backward(d: Tensor, g: Tensor, v: Tensor, double: bool) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    out, dg, problem = torch.empty_like(g), torch.empty_like(g), _pixels(g)
    sums = _sums(problem, 2)
    _call('gate_backward', problem, d, g, v, int(double), out, dg, d, sums)
    return out, dg, d, *sums.sum((0, 1))


def hidden(h: Tensor, weight: Tensor, bias: Tensor, w_context: Tensor, b_context: Tensor) -> tuple[Tensor, Tensor]:
    g, context = h.new_empty(h[..., 0].numel(), h.shape[-1]), h.new_empty(h[..., 0].numel())
    _call('ffn', _maps(h), h, weight.contiguous(), bias, w_context, b_context, g, context)
    return g, context


def hidden_backward(d: Tensor, d_context: Tensor, h: Tensor, weight: Tensor, bias: Tensor, w_context: Tensor) -> tuple:
    dh = torch.empty_like(h)
    sums = h.new_empty(len(h), TAPS + 3, h.shape[-1])
    _call('ffn_backward', _maps(h), h, weight.contiguous(), bias, w_context, d, d_context, d, dh, sums)
    taps, bias, context, dh_sum = sums.sum(0).split((TAPS, 1, 1, 1))
    return d, dh, taps.t().reshape(weight.shape), bias[0], context[0], dh_sum[0]


def add_spatial(t: Tensor, x: Tensor, normed: Tensor, scale: Tensor, mask: Tensor | None, out: Tensor) -> None:
    _call('add_spatial', _pixels(x), t, x, normed, scale, mask, out)


def add_channel(t: Tensor, x: Tensor, context: Tensor, subtracted: Tensor, mask: Tensor | None, out: Tensor) -> None:
    _call('add_channel', _pixels(x), t, x, context, subtracted, mask, out)


def shortcut_backward(grad: Tensor, normed: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    problem = _pixels(grad)
    d, sums = grad if mask is None else torch.empty_like(grad), _sums(problem, 2)
    _call('shortcut_backward', problem, grad, normed, mask, d, sums)
    return d, *sums.sum((0, 1))


def add_scaled(t: Tensor, d: Tensor, scale: Tensor, out: Tensor) -> None:
    _call('add_scaled', _pixels(d), t, d, scale, out)


def context_backward(grad: Tensor, context: Tensor, subtracted: Tensor, mask: Tensor | None) -> tuple:
    d_context, problem = torch.empty_like(context), _pixels(grad)
    d, sums = grad if mask is None else torch.empty_like(grad), _sums(problem, 2)
    _call('context_backward', problem, grad, context, subtracted, mask, d, d_context, sums)
    return d, d_context, *sums.sum((0, 1))


def correlate(a: Tensor, b: Tensor) -> Tensor:
    problem = Products(*a.shape, b.shape[1], torch.get_num_threads())
    out = a.new_empty(load().moganet_correlate_parts(byref(problem)), a.shape[1], b.shape[1])
    _call('correlate', problem, a, b, out)
    return out.sum(0) if len(out) > 1 else out[0]


def folded(weight: Tensor, scale: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    out, subtracted = torch.empty_like(weight), torch.empty_like(scale)
    _call('fold', Matrix(*weight.shape, torch.get_num_threads()), weight, scale, sigma, out, subtracted)
    return out, subtracted


def folded_backward(
    m: Tensor, shared: Tensor, weight: Tensor, scale: Tensor, sigma: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    problem, d_scale = Matrix(*weight.shape, torch.get_num_threads()), torch.empty_like(scale)
    d_sigma = m.new_empty(problem.threads, problem.columns)
    _call('fold_backward', problem, m, shared, weight, scale, sigma, d_scale, d_sigma)
    return m, d_scale, d_sigma.sum(0)


def _compiled(weights: Sequence[Tensor]) -> bool:
    """Whether there are kernels for depthwise convolutions of this size."""
    return all(w.shape[-1] == w.shape[-2] <= MOST_TAPS for w in weights)


def _maps(x: Tensor) -> Maps:
    return Maps(*x.shape, torch.get_num_threads())


def _pixels(x: Tensor) -> Pixels:
    """Of (B, H, W, C), or of (N, C) as one image."""
    batch = len(x) if x.dim() == 4 else 1
    return Pixels(batch, x.numel() // (batch * x.shape[-1]), x.shape[-1], torch.get_num_threads())


def _multi_order(x: Tensor, convs: tuple[Tensor, ...], dilations: tuple[int, ...]) -> MultiOrder:
    low, middle, _ = split_channels(x.shape[-1])
    firsts = (0, low, low + middle)
    weights, biases = convs[::2], convs[1::2]
    found = (
        Convolution(w.data_ptr(), b.data_ptr(), w.shape[-1], d, first)
        for w, b, d, first in zip(weights, biases, dilations, firsts, strict=True)
    )
    return MultiOrder(*x.shape, torch.get_num_threads(), (Convolution * 3)(*found))


def _sums(problem: Pixels, count: int) -> Tensor:
    """Room for ``count`` sums over pixels, per part of each image."""
    parts = load().moganet_parts(byref(problem))
    return torch.empty(problem.batch, parts, count, problem.channels, dtype=torch.float32)


def _call(name: str, problem: Structure, *arguments: object) -> None:
    """Call a kernel with tensors, which must be contiguous, as pointers."""
    pointers = []
    for argument in arguments:
        if isinstance(argument, Tensor):
            assert argument.is_contiguous() and argument.dtype is torch.float32, f'{name}: {argument.stride()}'
            argument = c_void_p(argument.data_ptr())
        pointers.append(argument)
    getattr(load(), f'moganet_{name}')(byref(problem), *pointers)
