"""Halves of a block on a CPU, compiled: a call each, in which Python has no part. Maps are (B, H, W, C), of float32.

What they compute is told in ``moganet/ops/torch/spatial.py`` and ``channel.py``, and for folded blocks in ``fused.py``.
"""

from collections.abc import Sequence
from ctypes import Structure, byref, c_int, c_void_p

import torch
from torch import Tensor

from ...arch import split_channels
from ..torch.matmul import images_at_once
from .library import load

# The widest kernel of a depthwise convolution that is compiled.
MOST_TAPS = 7
# Hidden channels that pass through a channel half at once: as many as a product takes inputs at once.
SLICE = 320
# Maps of C channels that a spatial half has at work at once.
MAPS = 6


class Maps(Structure):
    """(batch, height, width, channels)."""

    _fields_ = [(name, c_int) for name in ('batch', 'height', 'width', 'channels', 'threads')]


class Block(Structure):
    """Its images at once, its hidden channels and how many of them at once, groups of channels, convolutions."""

    _fields_ = [
        *Maps._fields_,
        *((name, c_int) for name in ('images', 'hidden', 'slice', 'low', 'middle', 'twice')),
        ('sides', c_int * 3),
        ('dilations', c_int * 3),
    ]


class Matrix(Structure):
    _fields_ = [(name, c_int) for name in ('rows', 'columns', 'threads')]


def compiles(convs: Sequence[Tensor]) -> bool:
    """Whether depthwise convolutions of these weights are compiled."""
    return all(w.shape[-1] == w.shape[-2] <= MOST_TAPS for w in convs)


def spatial(
    x: Tensor, normed: Tensor, mask: Tensor | None, weights: Sequence[Tensor | None], options: tuple, kept: list | None
) -> Tensor:
    """x + mask * (what a spatial half makes of ``normed``).

    Args:
        weights: ``proj_1`` and its bias of each image, None, gate and bias, weights and biases of the three
            convolutions, value and bias, ``proj_2`` and bias, and what ``normed`` has in the result. For a folded
            block: its weights.
        options: Whether the gate has both activations twice, and the dilations.
        kept: Is given what the backward pass needs.
    """
    out = torch.empty_like(x)
    memory = None if kept is None else x.new_empty(4 * x.numel())
    _call('spatial', _spatial_block(x, weights[5:10:2], options), weights, x, normed, mask, memory, out)
    if kept is not None:
        kept.append(memory)
    return out


def spatial_backward(
    grad: Tensor, normed: Tensor, mask: Tensor | None, weights: Sequence[Tensor], options: tuple, kept: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """The gradient of ``normed``, but for what goes by its means, and the sums that the weights' gradients are made of.

    Args:
        weights: ``proj_1``, gate, weights and biases of the convolutions, value, ``proj_2`` and layer scale.

    Returns:
        The gradient and a list: of t = mask * grad the sums over pixels, plain and times ``normed``; the gradients of
        ``proj_2``, of value and its bias, gate and its bias, and ``proj_1``; weights and biases of the convolutions;
        the gradient of ``proj_1``'s bias of each image.
    """
    channels, square, convs = normed.shape[-1], weights[0], weights[2:8]
    row = square[0]
    like = [row, row, square, square, row, square, row, square, *convs]
    sums = [torch.empty_like(t) for t in like] + [row.new_empty(len(normed), channels)]
    grad_normed = torch.empty_like(normed)
    block = _spatial_block(normed, convs[::2], options)
    _call('spatial_backward', block, weights, grad, normed, mask, kept, grad_normed, sums)
    return grad_normed, sums


def channel(x: Tensor, normed: Tensor, mask: Tensor | None, weights: Sequence[Tensor], kept: list | None) -> Tensor:
    """x + mask * (what a channel half makes of ``normed``).

    Args:
        weights: ``fc1``, the depthwise convolution, the context's, each with its bias, ``fc2`` with scales in it and
            bias, and what is subtracted times the context.
        kept: Is given what the backward pass needs.
    """
    out, hidden = torch.empty_like(x), len(weights[0])
    memory = None if kept is None else x.new_empty(x[..., 0].numel() * (hidden + 1))
    _call('channel', _channel_block(x, hidden), weights, x, normed, mask, memory, out)
    if kept is not None:
        kept.append(memory)
    return out


def channel_backward(
    grad: Tensor, normed: Tensor, mask: Tensor | None, weights: Sequence[Tensor], kept: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """The gradient of ``normed`` and what the weights' gradients are made of.

    Args:
        weights: ``fc2`` with scales in it, what is subtracted times the context, ``fc1``, the depthwise convolution
            and its bias, and the context's.

    Returns:
        The gradient and a list: of t = mask * grad the sums over pixels, plain and times the context; the gradients of
        ``fc2``, the context's bias, ``fc1``, the depthwise convolution and its bias, the context, ``fc1``'s bias.
    """
    w2, row, w1, w_dw, b_dw, w_context = weights
    like = [row, row, w2, row[:1], w1, w_dw, b_dw, w_context, b_dw]
    sums = [torch.empty_like(t) for t in like]
    grad_normed = torch.empty_like(normed)
    _call('channel_backward', _channel_block(normed, len(w1)), weights, grad, normed, mask, kept, grad_normed, sums)
    return grad_normed, sums


def folded(weight: Tensor, scale: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """``moganet.ops.torch.elementwise.folded``."""
    out, subtracted = torch.empty_like(weight), torch.empty_like(scale)
    _call('fold', Matrix(*weight.shape, torch.get_num_threads()), weight, scale, sigma, out, subtracted)
    return out, subtracted


def folded_backward(
    m: Tensor, shared: Tensor, weight: Tensor, scale: Tensor, sigma: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """``moganet.ops.torch.elementwise.folded_backward``."""
    problem, d_scale = Matrix(*weight.shape, torch.get_num_threads()), torch.empty_like(scale)
    d_sigma = m.new_empty(problem.threads, problem.columns)
    _call('fold_backward', problem, m, shared, weight, scale, sigma, d_scale, d_sigma)
    return m, d_scale, d_sigma.sum(0)


def _spatial_block(x: Tensor, convs: Sequence[Tensor], options: tuple) -> Block:
    double, dilations = options
    images = min(len(x), images_at_once(x, MAPS * x.shape[-1]))
    low, middle, _ = split_channels(x.shape[-1])
    sides = (c_int * 3)(*(w.shape[-1] for w in convs))
    return Block(*x.shape, torch.get_num_threads(), images, 0, 0, low, middle, double, sides, (c_int * 3)(*dilations))


def _channel_block(x: Tensor, hidden: int) -> Block:
    images = min(len(x), images_at_once(x, hidden))
    return Block(*x.shape, torch.get_num_threads(), images, hidden, min(hidden, SLICE))


def _call(name: str, problem: Structure, *arguments: Tensor | None | Sequence[Tensor | None]) -> None:
    """Call a kernel with tensors, which must be contiguous, and lists of them.

    Raises:
        MemoryError: there is not enough for what it computes in between.
    """
    if getattr(load(), f'moganet_{name}')(byref(problem), *map(_pointer, arguments)) == 1:
        raise MemoryError(f'moganet_{name} finds no memory for maps of {problem.batch} images')


def _pointer(argument: Tensor | None | Sequence[Tensor | None]) -> object:
    if argument is None or isinstance(argument, Tensor):
        return c_void_p(_address(argument))
    return (c_void_p * len(argument))(*map(_address, argument))


def _address(t: Tensor | None) -> int | None:
    if t is None:
        return None
    assert t.is_contiguous() and t.dtype is torch.float32, f'{t.dtype}, {t.stride()}'
    return t.data_ptr()
