"""The multi-order depthwise convolution (paper 4.3) as one operator: 5x5, the dilated ones of it, and what joins them.

It is computed in channels-last, and kept for the backward pass are its input and weights: what is between the 5x5 and
the dilated convolutions is computed again. That, and its gradient, are held in the type of the maps, as PyTorch's own
convolutions would; every sum is float32.

Maps of many images and channels take one launch, in which a program computes the 5x5 of an image and a block of
channels, and then the dilated ones of that. Otherwise programs would be too few, and two launches divide each image.
"""

import functools
from collections.abc import Sequence

import torch
import triton
from torch import Tensor

from ..reference import split_channels
from . import multi_order_kernels as kernels
from .tuning import PROGRAMS, kind

# Channels that a program is taken to have where its number of them is not yet measured.
BLOCK = 32
KERNELS = (5, 5, 7)
ROWS_5, ROWS_7 = kernels.ROWS_5.value, kernels.ROWS_7.value


def multi_order_dwconv(
    u: Tensor, w0: Tensor, b0: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, dilations: tuple[int, int, int]
) -> Tensor:
    """5x5 on all channels of ``u``, then on the middle and high ones the dilated 5x5 and 7x7; all keep the resolution.

    Args:
        u: (B, C, H, W) in float32, bfloat16 or float16; best in channels-last.
        w0, b0: (C, 1, 5, 5) and (C,). Weights and biases may be of another type than ``u``.
        w1, b1: (M, 1, 5, 5) and (M,), M channels as ``split_channels`` says.
        w2, b2: (N, 1, 7, 7) and (N,).
        dilations: of the three.

    Returns:
        (B, C, H, W) of the type of ``u``, in channels-last.

    Raises:
        ValueError: shapes that do not fit each other, dilations below 1, or an image of 2**31 elements or more.
    """
    return _forward(u, w0, b0, w1, b1, w2, b2, list(dilations))


@torch.library.custom_op('moganet::multi_order_dwconv', mutates_args=())
def _forward(
    u: Tensor, w0: Tensor, b0: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, dilations: Sequence[int]
) -> Tensor:
    weights = (w0, b0, w1, b1, w2, b2)
    _check(u, weights, dilations)
    u = _rows(u)
    out = torch.empty_like(u)
    if out.numel():
        with torch.cuda.device_of(u):
            _convolve(u, torch.empty_like(u), out, _table(u, weights), dilations)
    return out.permute(0, 3, 1, 2)


@torch.library.custom_op('moganet::multi_order_dwconv_backward', mutates_args=())
def _backward(
    grad: Tensor, u: Tensor, w0: Tensor, b0: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor,
    dilations: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    weights = (w0, b0, w1, b1, w2, b2)
    grad, u = _rows(grad), _rows(u)
    grad_u, between, grad_between = (torch.empty_like(u) for _ in range(3))
    grads = tuple(torch.empty_like(w, memory_format=torch.contiguous_format) for w in weights)
    if not u.numel():
        return grad_u.permute(0, 3, 1, 2), *(g.zero_() for g in grads)
    low = split_channels(u.shape[-1])[0]
    with torch.cuda.device_of(u):
        table = _table(u, weights)
        _convolve(u, between, between, table, dilations, steps=((True, False),))
        grad_between[..., :low] = grad[..., :low]
        _convolve(grad, grad_between, grad_u, table, dilations, backward=True)
        _copy_table(_correlate(grad, between, grad_between, u, dilations), grads, to_table=False)
    return grad_u.permute(0, 3, 1, 2), *grads


@_forward.register_fake
def _(
    u: Tensor, w0: Tensor, b0: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor, dilations: Sequence[int]
) -> Tensor:
    _check(u, (w0, b0, w1, b1, w2, b2), dilations)
    return _like(u)


@_backward.register_fake
def _(
    grad: Tensor, u: Tensor, w0: Tensor, b0: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor,
    dilations: Sequence[int],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    grads = (torch.empty_like(w, memory_format=torch.contiguous_format) for w in (w0, b0, w1, b1, w2, b2))
    return _like(u), *grads


def _keep(ctx, inputs: tuple, output: Tensor) -> None:
    *kept, ctx.dilations = inputs
    ctx.save_for_backward(*kept)


def _derive(ctx, grad: Tensor) -> tuple:
    return *_backward(grad, *ctx.saved_tensors, ctx.dilations), None


_forward.register_autograd(_derive, setup_context=_keep)


def _check(u: Tensor, weights: tuple[Tensor, ...], dilations: Sequence[int]) -> None:
    channels = u.shape[1] if u.dim() == 4 else 0
    counts = (channels, *split_channels(channels)[1:])
    expected = [shape for n, k in zip(counts, KERNELS, strict=True) for shape in ((n, 1, k, k), (n,))]
    found = [tuple(w.shape) for w in weights]
    if not channels or found != expected or len(dilations) != 3 or min(dilations) < 1:
        raise ValueError(
            f'multi_order_dwconv of {tuple(u.shape)} takes weights and biases {expected} and three dilations, '
            f'not {found} and {list(dilations)}'
        )


def _rows(x: Tensor) -> Tensor:
    """(B, H, W, C) without gaps, of a (B, C, H, W)."""
    return x.permute(0, 2, 3, 1).contiguous()


def _like(u: Tensor) -> Tensor:
    batch, channels, height, width = u.shape
    return u.new_empty(batch, height, width, channels).permute(0, 3, 1, 2)


def _table(u: Tensor, weights: tuple[Tensor, ...]) -> Tensor:
    table = u.new_empty(kernels.TABLE_ROWS, u.shape[-1], dtype=torch.float32)
    _copy_table(table, [w.contiguous() for w in weights], to_table=True)
    return table


def _copy_table(table: Tensor, weights: Sequence[Tensor], to_table: bool) -> None:
    rows, channels = table.shape
    low, middle, _ = split_channels(channels)
    kernels.copy_table[triton.cdiv(rows, 16), triton.cdiv(channels, 32)](
        table, *weights, channels, low, low + middle, TO_TABLE=to_table, ROWS=16, BLOCK=32
    )


def _convolve(
    src: Tensor, between: Tensor, dst: Tensor, table: Tensor, dilations: Sequence[int], backward: bool = False,
    steps: tuple[tuple[bool, bool], ...] | None = None,
) -> None:  # fmt: skip
    """Both steps of the forward, or of the backward pass of maps (B, H, W, C); or those of ``steps``, by launch."""
    batch, height, width, channels = src.shape
    together = batch * triton.cdiv(channels, BLOCK) >= PROGRAMS
    if steps is None:
        steps = ((True, True),) if together else ((True, False), (False, True))

    def grid(meta: dict, dilated: bool) -> tuple[int, int]:
        kinds = ((dilations[1], ROWS_5), (dilations[2], ROWS_7)) if dilated else ((dilations[0], ROWS_5),)
        lines = max(triton.cdiv(triton.cdiv(height, dilation), rows) * dilation for dilation, rows in kinds)
        tiles = 1 if together else lines * triton.cdiv(width, meta['COLS'])
        return batch * tiles, triton.cdiv(channels, meta['BLOCK'])

    for first, second in steps:
        dilated = first == backward
        kernels.convolve[functools.partial(grid, dilated=dilated)](
            src, between, dst, table, *_arguments(src), **_constants(channels, dilations),
            FIRST=first, SECOND=second, BACKWARD=backward,
        )  # fmt: skip


def _correlate(grad: Tensor, between: Tensor, grad_between: Tensor, src: Tensor, dilations: Sequence[int]) -> Tensor:
    """The table of the gradients of weights and biases."""
    batch, height, width, channels = src.shape
    # A line of tiles per program at least. Half as many programs as elsewhere: they have more warps.
    lines = batch * triton.cdiv(height, ROWS_5)
    parts = max(1, min(lines, PROGRAMS // (4 * triton.cdiv(channels, BLOCK))))
    tables = src.new_zeros(kernels.BESIDE * parts, kernels.TABLE_ROWS, channels, dtype=torch.float32)
    kernels.correlate[lambda meta: (parts, triton.cdiv(channels, meta['BLOCK']), 2)](
        grad, between, grad_between, src, tables, *_arguments(src), **_constants(channels, dilations)
    )
    return tables.sum(0)


def _arguments(src: Tensor) -> tuple[int, ...]:
    batch, height, width, channels = src.shape
    if src[0].numel() >= 2**31:
        raise ValueError(f'multi_order_dwconv takes maps of less than 2**31 elements per image, not {src[0].numel()}')
    low, middle, _ = split_channels(channels)
    units = [n // _align(channels) for n in (channels, low, low + middle)]
    return height, width, *units, batch, kind(src.numel(), width)


def _constants(channels: int, dilations: Sequence[int]) -> dict[str, int]:
    return dict(zip(('D0', 'D1', 'D2'), dilations, strict=True), ALIGN=_align(channels))


def _align(channels: int) -> int:
    """The most channels, up to 4, that divide the sizes of all groups, as those of every size of MogaNet."""
    return 4 if channels % 32 == 0 else 1
