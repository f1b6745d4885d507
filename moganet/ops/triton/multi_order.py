"""The multi-order depthwise convolution (paper 4.3): a 5x5, then dilated 5x5 and 7x7 on the middle and high channels.

The first launch computes the 5x5 of all channels, the second both dilated convolutions. The backward pass launches the
transposed dilated convolutions first. It needs the input and the weights only; it computes the output of the 5x5
again. That output and its gradient have the type of the maps, as with PyTorch's convolutions; sums are float32. Maps
are (B, H, W, C), contiguous. These functions do not record gradients.

Not timed on a GPU in this form.
"""

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...arch import split_channels
from . import multi_order_gradients as gradients
from . import multi_order_kernels as kernels
from .autotune import TARGET_PROGRAMS, ceil_div, launch, size_bucket
from .tiling import check_size

# Channels per program assumed before autotuning: convolutions, weight gradients.
FORWARD_CHANNELS, GRADIENT_CHANNELS = 64, 32
ROWS_5, ROWS_7 = kernels.ROWS_5.value, kernels.ROWS_7.value
# Most images of a program, which divide its lanes; twice as many for maps of up to NARROW channels. The middle and high
# groups, 3 and 4 eighths of all channels, then fill the lanes.
MAX_IMAGES, NARROW = 2, 32
# Fewest columns of a strip that is shortened for more programs. Each strip also reads the columns around it.
MIN_COLUMNS = 8


class Launch(NamedTuple):
    """Launch of a convolution kernel.

    Attributes:
        grid: Return the numbers of programs for a configuration.
        integers: Integer arguments, without ``flip``, which is the last.
        constants: Constants for the compiler.
    """

    grid: Callable[[dict], tuple[int, int]]
    integers: tuple[int, ...]
    constants: dict[str, int]


def table_of(weights: Sequence[Tensor]) -> Tensor:
    """Return the weights and biases of the three convolutions as one table, (TABLE_ROWS, C) in float32.

    Args:
        weights: w0, b0, w1, b1, w2, b2 of any type: (C, 1, 5, 5) and (C), (M, 1, 5, 5) and (M), (N, 1, 7, 7) and (N).
            ``split_channels`` defines M and N, the sizes of the middle and of the high group.
    """
    table = weights[0].new_zeros((kernels.TABLE_ROWS, len(weights[0])), dtype=torch.float32)
    _copy_table(table, [w.contiguous() for w in weights], to_table=True)
    return table


def forward(u: Tensor, table: Tensor, dilations: Sequence[int]) -> Tensor:
    """Return the multi-order convolution of ``u``, of the same shape and type.

    Args:
        u: (B, H, W, C), contiguous, in float32, bfloat16 or float16.
        table: Table of the weights, from ``table_of``.
        dilations: Dilations of the three convolutions.

    Raises:
        ValueError: An image has 2**31 elements or more.
    """
    out, inner = torch.empty_like(u), torch.empty_like(u)
    _convolve(u, out, inner, table, dilations, flip=False)
    _convolve_dilated(inner, out, table, dilations, flip=False)
    return out


def backward(
    grad: Tensor, u: Tensor, table: Tensor, weights: Sequence[Tensor], dilations: Sequence[int]
) -> tuple[Tensor, list[Tensor]]:
    """Return the gradients of ``u``, and of the weights and biases in their order, shapes and types.

    Args:
        grad: Gradient of the output (B, H, W, C).
        u: Argument of ``forward``.
        table: Argument of ``forward``.
        weights: Argument of ``table_of``.
        dilations: Argument of ``forward``.

    Raises:
        ValueError: An image has 2**31 elements or more.
    """
    grad_u, inner, grad_inner = (torch.empty_like(u) for _ in range(3))
    low = split_channels(u.shape[-1])[0]
    _convolve(u, inner, inner, table, dilations, flip=False)
    grad_inner[..., :low] = grad[..., :low]
    _convolve_dilated(grad, grad_inner, table, dilations, flip=True)
    _convolve(grad_inner, grad_u, grad_u, table, dilations, flip=True)
    grads = [torch.empty_like(w, memory_format=torch.contiguous_format) for w in weights]
    _copy_table(_correlate(grad, inner, grad_inner, u, dilations), grads, to_table=False)
    return grad_u, grads


def _copy_table(table: Tensor, weights: Sequence[Tensor], to_table: bool) -> None:
    """Copy the weights into the table, or from the table."""
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
    """Run the 5x5 convolution; store low channels in ``low``, others in ``dst``. flip: transposed, without bias."""
    plan, _ = launches_of(*src.shape, *dilations)
    launch(kernels.convolve, plan.grid, (src, low, dst, table), (*plan.integers, int(flip)), **plan.constants)


def _convolve_dilated(src: Tensor, dst: Tensor, table: Tensor, dilations: Sequence[int], flip: bool) -> None:
    """Run the dilated convolutions of the middle and high channels. flip: transposed, without bias."""
    _, plan = launches_of(*src.shape, *dilations)
    launch(kernels.convolve_dilated, plan.grid, (src, dst, table), (*plan.integers, int(flip)), **plan.constants)


@functools.lru_cache(1024)
def launches_of(batch: int, height: int, width: int, channels: int, d0: int, d1: int, d2: int) -> tuple[Launch, Launch]:
    """Return the launches of the 5x5 and of the dilated convolutions for a map of (batch, height, width, channels).

    Raises:
        ValueError: An image has 2**31 elements or more.
    """
    check_size(height, width, channels)
    low, middle, high = split_channels(channels)
    images = min(1 << batch.bit_length() - 1, MAX_IMAGES if channels > NARROW else 2 * MAX_IMAGES)
    convolutions = (d0, ROWS_5), (d1, ROWS_5), (d2, ROWS_7)
    strips, length = zip(*(_strips(batch, height, width, channels, d, rows) for d, rows in convolutions), strict=True)
    single = [ceil_div(height, d) <= rows for d, rows in convolutions]
    integers, bucket = (height, width, batch), size_bucket(batch * height * width * channels, width)
    return (
        Launch(
            functools.partial(_grid, batch=batch, images=images, channels=(channels,), strips=strips[:1]),
            (*integers, length[0], bucket),
            dict(C=channels, LOW=low, D=d0, SINGLE_STRIP=single[0], IMAGES=images),
        ),
        Launch(
            functools.partial(_grid, batch=batch, images=images, channels=(middle, high), strips=strips[1:]),
            (*integers, *length[1:], bucket),
            dict(
                C=channels,
                LOW=low,
                SPLIT=low + middle,
                D1=d1,
                D2=d2,
                SINGLE_5=single[1],
                SINGLE_7=single[2],
                IMAGES=images,
            ),
        ),
    )


def _strips(batch: int, height: int, width: int, channels: int, dilation: int, rows: int) -> tuple[int, int]:
    """Return the number of strips of an image and the columns of each; strips are short where programs are few."""
    lines, columns = ceil_div(ceil_div(height, dilation), rows) * dilation, ceil_div(width, dilation)
    programs = batch * lines * dilation * ceil_div(channels, FORWARD_CHANNELS)
    length = ceil_div(columns, min(max(1, round(TARGET_PROGRAMS / programs)), ceil_div(columns, MIN_COLUMNS)))
    return lines * dilation * ceil_div(columns, length), length


def _grid(meta: dict, batch: int, images: int, channels: tuple[int, ...], strips: tuple[int, ...]) -> tuple[int, int]:
    """Return the programs per block of channels, and the blocks. Of many strips, a program computes several."""
    groups = ceil_div(batch, images)
    blocks = [ceil_div(count, meta['BLOCK'] // images) for count in channels]
    programs = groups * sum(n * m for n, m in zip(blocks, strips, strict=True))
    return ceil_div(groups * max(strips), ceil_div(programs, 2 * TARGET_PROGRAMS)), sum(blocks)


def _correlate(grad: Tensor, inner: Tensor, grad_inner: Tensor, src: Tensor, dilations: Sequence[int]) -> Tensor:
    """Return the table of the gradients of weights and biases."""
    batch, height, _, channels = src.shape
    # At least a line of tiles per program. Half as many programs as elsewhere, since these have more warps.
    lines = batch * ceil_div(height, ROWS_5)
    chunks = max(1, min(lines, TARGET_PROGRAMS // (4 * ceil_div(channels, GRADIENT_CHANNELS))))
    tables = src.new_zeros(gradients.TILES * chunks, kernels.TABLE_ROWS, channels, dtype=torch.float32)
    launch(
        gradients.correlate,
        lambda meta: (chunks, ceil_div(channels, meta['BLOCK']), 2),
        (grad, inner, grad_inner, src, tables),
        _integers(*src.shape),
        D0=dilations[0],
        D1=dilations[1],
        D2=dilations[2],
        ALIGN=_align(channels),
    )
    return tables.sum(0)


@functools.lru_cache(1024)
def _integers(batch: int, height: int, width: int, channels: int) -> tuple[int, ...]:
    """Return the integer arguments of ``correlate`` for a map."""
    low, middle, _ = split_channels(channels)
    units = [n // _align(channels) for n in (channels, low, low + middle)]
    return height, width, *units, batch, size_bucket(batch * height * width * channels, width)


def _align(channels: int) -> int:
    """Return 4 if it divides the sizes of all groups of channels, as in every size of MogaNet, else 1."""
    return 4 if channels % 32 == 0 else 1
