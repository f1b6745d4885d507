"""The multi-order depthwise convolution (paper 4.3): 5x5, the dilated ones of it, and what joins them, in one.

Kept for the backward pass are its input and weights: what is between the 5x5 and the dilated convolutions is computed
again. That, and its gradient, are held in the type of the maps, as PyTorch's own convolutions would; every sum is
float32. Maps are (B, H, W, C) without gaps. Nothing here knows autograd.

Two launches do it: the 5x5 of all channels, and the dilated ones of it side by side. Backward, the transposed dilated
ones come first.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...arch import split_channels
from . import multi_order_kernels as kernels
from .autotune import PROGRAMS, ceil_div, kind, launch
from .tiling import check_size

# Channels that a program is taken to have where its number of them is not yet measured; those of one of gradients.
BLOCK, BLOCK_OF_GRADIENTS = 64, 32
ROWS_5, ROWS_7 = kernels.ROWS_5.value, kernels.ROWS_7.value
# Images that a program has a share of the channels of, at most, or twice as many of few channels: the middle and high
# groups, 3 and 4 eighths of all channels, then fill a program's lanes.
IMAGES, FEW = 2, 32
# Columns of a strip at least, where strips are shortened for more programs: each also reads those around it.
COLUMNS = 8


class Launch(NamedTuple):
    """Of a kernel: its grid, by the constants it is tuned to; numbers it is given, before ``flip``; constants."""

    grid: Callable[[dict], tuple[int, int]]
    numbers: tuple[int, ...]
    constants: dict[str, int]


def table_of(weights: Sequence[Tensor]) -> Tensor:
    """The weights and biases of the three convolutions, of any type, as the kernels read them.

    Args:
        weights: w0, b0, w1, b1, w2, b2: (C, 1, 5, 5) and (C,), (M, 1, 5, 5) and (M,), (N, 1, 7, 7) and (N,), C, M and N
            as ``split_channels`` says.
    """
    table = weights[0].new_zeros((kernels.TABLE_ROWS, len(weights[0])), dtype=torch.float32)
    _copy_table(table, [w.contiguous() for w in weights], to_table=True)
    return table


def forward(u: Tensor, table: Tensor, dilations: Sequence[int]) -> Tensor:
    """5x5 on all channels of ``u``, then on the middle and high ones the dilated 5x5 and 7x7; all keep the resolution.

    Args:
        u: (B, H, W, C) in float32, bfloat16 or float16.
        table: ``table_of`` the weights.
        dilations: of the three.

    Raises:
        ValueError: an image of 2**31 elements or more.
    """
    out, between = torch.empty_like(u), torch.empty_like(u)
    _convolve(u, out, between, table, dilations, flip=False)
    _convolve_dilated(between, out, table, dilations, flip=False)
    return out


def backward(
    grad: Tensor, u: Tensor, table: Tensor, weights: Sequence[Tensor], dilations: Sequence[int]
) -> tuple[Tensor, list[Tensor]]:
    """Gradients of ``u`` and of the weights and biases, in their order and types."""
    grad_u, between, grad_between = (torch.empty_like(u) for _ in range(3))
    low = split_channels(u.shape[-1])[0]
    _convolve(u, between, between, table, dilations, flip=False)
    grad_between[..., :low] = grad[..., :low]
    _convolve_dilated(grad, grad_between, table, dilations, flip=True)
    _convolve(grad_between, grad_u, grad_u, table, dilations, flip=True)
    grads = [torch.empty_like(w, memory_format=torch.contiguous_format) for w in weights]
    _copy_table(_correlate(grad, between, grad_between, u, dilations), grads, to_table=False)
    return grad_u, grads


def _copy_table(table: Tensor, weights: Sequence[Tensor], to_table: bool) -> None:
    rows, channels = table.shape
    low, middle, _ = split_channels(channels)
    launch(
        kernels.copy_table,
        (ceil_div(rows, 16), ceil_div(channels, 32)),
        (table, *weights),
        (channels, low, low + middle),
        TO_TABLE=to_table,
        ROWS=16,
        BLOCK=32,
    )


def _convolve(src: Tensor, low: Tensor, dst: Tensor, table: Tensor, dilations: Sequence[int], flip: bool) -> None:
    """The 5x5: of the low channels into ``low``, of the others into ``dst``. flip: the transposed one, without bias."""
    plan, _ = _plan(*src.shape, *dilations)
    launch(kernels.convolve, plan.grid, (src, low, dst, table), (*plan.numbers, int(flip)), **plan.constants)


def _convolve_dilated(src: Tensor, dst: Tensor, table: Tensor, dilations: Sequence[int], flip: bool) -> None:
    """The dilated ones of the middle and high channels."""
    _, plan = _plan(*src.shape, *dilations)
    launch(kernels.convolve_dilated, plan.grid, (src, dst, table), (*plan.numbers, int(flip)), **plan.constants)


@functools.lru_cache(1024)
def _plan(batch: int, height: int, width: int, channels: int, d0: int, d1: int, d2: int) -> tuple[Launch, Launch]:
    """The launches of the 5x5 and of the dilated ones."""
    check_size(height, width, channels)
    low, middle, high = split_channels(channels)
    images = min(1 << batch.bit_length() - 1, IMAGES if channels > FEW else 2 * IMAGES)
    steps = (d0, ROWS_5), (d1, ROWS_5), (d2, ROWS_7)
    strips, length = zip(*(_strips(batch, height, width, channels, d, rows) for d, rows in steps), strict=True)
    fit = [ceil_div(height, d) <= rows for d, rows in steps]
    numbers, tuned_for = (height, width, batch), kind(batch * height * width * channels, width)
    return (
        Launch(
            functools.partial(_grid, batch=batch, images=images, channels=(channels,), strips=strips[:1]),
            (*numbers, length[0], tuned_for),
            dict(C=channels, LOW=low, D=d0, FIT=fit[0], IMAGES=images),
        ),
        Launch(
            functools.partial(_grid, batch=batch, images=images, channels=(middle, high), strips=strips[1:]),
            (*numbers, *length[1:], tuned_for),
            dict(C=channels, LOW=low, SPLIT=low + middle, D1=d1, D2=d2, FIT_5=fit[1], FIT_7=fit[2], IMAGES=images),
        ),
    )


def _strips(batch: int, height: int, width: int, channels: int, dilation: int, rows: int) -> tuple[int, int]:
    """Strips of an image, and the columns of each: fewer where programs would be too few."""
    lines, columns = ceil_div(ceil_div(height, dilation), rows) * dilation, ceil_div(width, dilation)
    programs = batch * lines * dilation * ceil_div(channels, BLOCK)
    length = ceil_div(columns, min(max(1, round(PROGRAMS / programs)), ceil_div(columns, COLUMNS)))
    return lines * dilation * ceil_div(columns, length), length


def _grid(meta: dict, batch: int, images: int, channels: tuple[int, ...], strips: tuple[int, ...]) -> tuple[int, int]:
    """Programs, by blocks, of groups of channels. Where they would be many, each has several strips with its taps."""
    groups = ceil_div(batch, images)
    blocks = [ceil_div(count, meta['BLOCK'] // images) for count in channels]
    programs = groups * sum(n * m for n, m in zip(blocks, strips, strict=True))
    return ceil_div(groups * max(strips), ceil_div(programs, 2 * PROGRAMS)), sum(blocks)


def _correlate(grad: Tensor, between: Tensor, grad_between: Tensor, src: Tensor, dilations: Sequence[int]) -> Tensor:
    """The table of the gradients of weights and biases."""
    batch, height, width, channels = src.shape
    # A line of tiles per program at least. Half as many programs as elsewhere: they have more warps.
    lines = batch * ceil_div(height, ROWS_5)
    parts = max(1, min(lines, PROGRAMS // (4 * ceil_div(channels, BLOCK_OF_GRADIENTS))))
    tables = src.new_zeros(kernels.BESIDE * parts, kernels.TABLE_ROWS, channels, dtype=torch.float32)
    launch(
        kernels.correlate,
        lambda meta: (parts, ceil_div(channels, meta['BLOCK']), 2),
        (grad, between, grad_between, src, tables),
        _numbers(*src.shape),
        D0=dilations[0],
        D1=dilations[1],
        D2=dilations[2],
        ALIGN=_align(channels),
    )
    return tables.sum(0)


@functools.lru_cache(1024)
def _numbers(batch: int, height: int, width: int, channels: int) -> tuple[int, ...]:
    low, middle, _ = split_channels(channels)
    units = [n // _align(channels) for n in (channels, low, low + middle)]
    return height, width, *units, batch, kind(batch * height * width * channels, width)


def _align(channels: int) -> int:
    """The most channels, up to 4, that divide the sizes of all groups, as those of every size of MogaNet."""
    return 4 if channels % 32 == 0 else 1
