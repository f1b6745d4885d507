"""The multi-order depthwise convolution (paper 4.3): 5x5, the dilated ones of it, and what joins them, in one.

Kept for the backward pass are its input and weights: what is between the 5x5 and the dilated convolutions is computed
again. That, and its gradient, are held in the type of the maps, as PyTorch's own convolutions would; every sum is
float32. Maps are (B, H, W, C) without gaps. Nothing here knows autograd.

Maps of many images and channels take one launch, in which a program computes the 5x5 of an image and a block of
channels, and then the dilated ones of that. Otherwise programs would be too few, and two launches divide each image.
"""

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from ..reference import split_channels
from . import multi_order_kernels as kernels
from .parts import check_size
from .tuning import PROGRAMS, ceil_div, kind, launch

# Channels that a program is taken to have where its number of them is not yet measured.
BLOCK = 32
ROWS_5, ROWS_7 = kernels.ROWS_5.value, kernels.ROWS_7.value


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
    out = torch.empty_like(u)
    _convolve(u, torch.empty_like(u), out, table, dilations)
    return out


def backward(
    grad: Tensor, u: Tensor, table: Tensor, weights: Sequence[Tensor], dilations: Sequence[int]
) -> tuple[Tensor, list[Tensor]]:
    """Gradients of ``u`` and of the weights and biases, in their order and types."""
    grad_u, between, grad_between = (torch.empty_like(u) for _ in range(3))
    low = split_channels(u.shape[-1])[0]
    _convolve(u, between, between, table, dilations, steps=((True, False),))
    grad_between[..., :low] = grad[..., :low]
    _convolve(grad, grad_between, grad_u, table, dilations, backward=True)
    grads = [torch.empty_like(w, memory_format=torch.contiguous_format) for w in weights]
    _copy_table(_correlate(grad, between, grad_between, u, dilations), grads, to_table=False)
    return grad_u, grads


def _copy_table(table: Tensor, weights: Sequence[Tensor], to_table: bool) -> None:
    rows, channels = table.shape
    low, middle, _ = split_channels(channels)
    launch(kernels.copy_table, (ceil_div(rows, 16), ceil_div(channels, 32)), (table, *weights),
           (channels, low, low + middle), TO_TABLE=to_table, ROWS=16, BLOCK=32)  # fmt: skip


def _convolve(
    src: Tensor, between: Tensor, dst: Tensor, table: Tensor, dilations: Sequence[int], backward: bool = False,
    steps: tuple[tuple[bool, bool], ...] | None = None,
) -> None:  # fmt: skip
    """Both steps of the forward, or of the backward pass of maps (B, H, W, C); or those of ``steps``, by launch."""
    batch, height, width, channels = src.shape
    together = batch * ceil_div(channels, BLOCK) >= PROGRAMS
    if steps is None:
        steps = ((True, True),) if together else ((True, False), (False, True))

    def grid(meta: dict, dilated: bool) -> tuple[int, int]:
        kinds = ((dilations[1], ROWS_5), (dilations[2], ROWS_7)) if dilated else ((dilations[0], ROWS_5),)
        lines = max(ceil_div(ceil_div(height, dilation), rows) * dilation for dilation, rows in kinds)
        tiles = 1 if together else lines * ceil_div(width, meta['COLS'])
        return batch * tiles, ceil_div(channels, meta['BLOCK'])

    for first, second in steps:
        dilated = first == backward
        launch(kernels.convolve, functools.partial(grid, dilated=dilated), (src, between, dst, table), _numbers(src),
               **_constants(channels, dilations), FIRST=first, SECOND=second, BACKWARD=backward)  # fmt: skip


def _correlate(grad: Tensor, between: Tensor, grad_between: Tensor, src: Tensor, dilations: Sequence[int]) -> Tensor:
    """The table of the gradients of weights and biases."""
    batch, height, width, channels = src.shape
    # A line of tiles per program at least. Half as many programs as elsewhere: they have more warps.
    lines = batch * ceil_div(height, ROWS_5)
    parts = max(1, min(lines, PROGRAMS // (4 * ceil_div(channels, BLOCK))))
    tables = src.new_zeros(kernels.BESIDE * parts, kernels.TABLE_ROWS, channels, dtype=torch.float32)
    launch(kernels.correlate, lambda meta: (parts, ceil_div(channels, meta['BLOCK']), 2),
           (grad, between, grad_between, src, tables), _numbers(src), **_constants(channels, dilations))  # fmt: skip
    return tables.sum(0)


def _numbers(src: Tensor) -> tuple[int, ...]:
    return _numbers_of(*src.shape)


@functools.lru_cache(1024)
def _numbers_of(batch: int, height: int, width: int, channels: int) -> tuple[int, ...]:
    check_size(height, width, channels)
    low, middle, _ = split_channels(channels)
    units = [n // _align(channels) for n in (channels, low, low + middle)]
    return height, width, *units, batch, kind(batch * height * width * channels, width)


def _constants(channels: int, dilations: Sequence[int]) -> dict[str, int]:
    return dict(zip(('D0', 'D1', 'D2'), dilations, strict=True), ALIGN=_align(channels))


def _align(channels: int) -> int:
    """The most channels, up to 4, that divide the sizes of all groups, as those of every size of MogaNet."""
    return 4 if channels % 32 == 0 else 1
