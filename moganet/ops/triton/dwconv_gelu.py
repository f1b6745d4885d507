"""GELU of a 3x3 depthwise convolution, and its gradients, in three kernels that read and write each map once.

Maps are (B, H, W, C) without gaps. A program has a block of channels and goes through tiles: strips of COLS columns,
and of some rows, which it walks down. Of each row it reads COLS + 2 vectors of channels, a row ahead of their use, and
then has each number in a register, in float32, for all the products that it is part of. Sums over positions are made in
registers, too; each program leaves its own in a row of a buffer, and the rows are summed in a fixed order.

The compiler knows the number of channels: the columns of a row lie at fixed distances from one address.
"""

import functools
from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor

from .activations import beyond, gelu
from .autotune import PROGRAMS, ceil_div, kind, launch, tuned
from .tiling import check_size

# Sums over positions: of the nine taps, of the bias, and of the gradient of the input.
SUMS = tl.constexpr(11)
# Rows of a tile at most, its columns, and its channels where the fastest number is not yet known. Maps of images of 224
# pixels have 56, 28, 14 and 7 columns.
ROWS, BLOCK = 64, 64
COLS = tl.constexpr(7)
# Among how many warps tiles are shared out: several times as many as run at once, or, where sums allow no more, these.
SEVERAL, ONCE = 6 * PROGRAMS, PROGRAMS * 3 // 2
# Positions per row of the buffer of sums, which is then a twentieth of a map of 16 bits.
POSITIONS = 20 * SUMS.value * 2
# The density of the normal distribution at x is 2 to the power of LOG_DENSITY - LOG_DECAY * x * x.
LOG_DENSITY, LOG_DECAY = tl.constexpr(-1.3257480647361592), tl.constexpr(0.7213475204444817)


@triton.jit
def _read(at, y, end, x, W, inside, C: tl.constexpr, AROUND: tl.constexpr, WHOLE: tl.constexpr, BLOCK: tl.constexpr):
    """Row y, columns x to x + COLS - 1 and AROUND more on each side, as vectors of channels; zeros outside the map.

    ``at`` are the addresses in row 0 of column x. Rows from ``end`` on are not read. WHOLE: all COLS columns exist.
    """
    at += y * W * C
    exists = (y >= 0) & (y < end)
    row = ()
    for i in tl.static_range(COLS + 2 * AROUND):
        mask = exists
        if i < AROUND:
            mask = mask & (x + i >= AROUND)
        elif i >= COLS + AROUND or not WHOLE:
            mask = mask & (x + i < W + AROUND)
        if C % BLOCK:
            mask = mask & inside
        row += (tl.load(at + (i - AROUND) * C, mask=mask, other=0),)
    return row


@triton.jit
def _write(
    at, vector, y, column: tl.constexpr, x, W, inside, C: tl.constexpr, WHOLE: tl.constexpr, BLOCK: tl.constexpr
):
    """A vector into row y, column x + ``column``, if that exists."""
    at += y * W * C
    vector = vector.to(at.dtype.element_ty)
    if WHOLE and C % BLOCK == 0:
        tl.store(at + column * C, vector)
    elif WHOLE:
        tl.store(at + column * C, vector, mask=inside)
    else:
        tl.store(at + column * C, vector, mask=inside & (x + column < W))


@triton.jit
def _floats(row):
    converted = ()
    for i in tl.static_range(len(row)):
        converted += (row[i].to(tl.float32),)
    return converted


@triton.jit
def _taps(w_ptr, c, inside, FLIP: tl.constexpr):
    """The weight (C, 1, 3, 3), row by row; from its end for the transposed convolution."""
    taps = ()
    for i in tl.static_range(9):
        taps += (tl.load(w_ptr + c * 9 + (8 - i if FLIP else i), mask=inside, other=0).to(tl.float32),)
    return taps


@triton.jit
def _copies(vector, COUNT: tl.constexpr):
    copies = ()
    for _ in tl.static_range(COUNT):
        copies += (vector,)
    return copies


@triton.jit
def _place(tile, H, W, rows, C: tl.constexpr):
    """A tile's first column and row, the row after its last, and how far its image and column are from the start."""
    strips, bands = tl.cdiv(W, COLS), tl.cdiv(H, rows)
    x, y = tile % strips * COLS, tile // strips % bands * rows
    return x, y, tl.minimum(y + rows, H), (tile // strips // bands).to(tl.int64) * H * W * C + x * C


@triton.jit
def _add_products(outs, row, taps, FIRST: tl.constexpr):
    """Add the products of a row with three taps, from FIRST on, to the outputs of its columns but the outermost."""
    added = ()
    for i in tl.static_range(len(outs)):
        added += (outs[i] + taps[FIRST] * row[i] + taps[FIRST + 1] * row[i + 1] + taps[FIRST + 2] * row[i + 2],)
    return added


@triton.jit
def _add_correlations(sums, dpre, row, FIRST: tl.constexpr, COLUMN: tl.constexpr):
    """Add the products of the gradient of column COLUMN with a row to the sums of three taps, from FIRST on."""
    added = ()
    for i in tl.static_range(len(sums)):
        if i >= FIRST and i < FIRST + 3:
            added += (sums[i] + dpre * row[COLUMN + i - FIRST],)
        else:
            added += (sums[i],)
    return added


@tuned(
    ('tuned_for', 'C', 'FORWARD'),
    triton.Config({'BLOCK': 64}, num_warps=1, num_stages=1),
    triton.Config({'BLOCK': 128}, num_warps=2, num_stages=1),
)
@triton.jit(do_not_specialize=['B', 'H', 'W', 'rows', 'tuned_for'])
def _convolve(
    x_ptr,
    w_ptr,
    b_ptr,
    out_ptr,
    sums_ptr,
    B,
    H,
    W,
    rows,
    tuned_for,
    C: tl.constexpr,
    WHOLE: tl.constexpr,
    FORWARD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """FORWARD, GELU of the convolution, without ``sums_ptr``; else, without ``b_ptr``, the transposed one and its sums
    over positions.
    """
    EXACT: tl.constexpr = x_ptr.dtype.element_ty == tl.float32
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    taps = _taps(w_ptr, c, inside, not FORWARD)
    bias, total = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    if FORWARD:
        bias = tl.load(b_ptr + c, mask=inside, other=0).to(tl.float32)
    start = _copies(bias, COLS)
    for tile in range(tl.program_id(1), B * tl.cdiv(H, rows) * tl.cdiv(W, COLS), tl.num_programs(1)):
        x, first, last, offset = _place(tile, H, W, rows, C)
        at, to = x_ptr + offset + c, out_ptr + offset + c
        end = tl.minimum(last + 1, H)
        # The outputs of a row and of the one below, as far as the rows that were read go.
        row = _floats(_read(at, first - 1, end, x, W, inside, C, 1, WHOLE, BLOCK))
        here = _add_products(start, row, taps, 0)
        row = _floats(_read(at, first, end, x, W, inside, C, 1, WHOLE, BLOCK))
        here, below = _add_products(here, row, taps, 3), _add_products(start, row, taps, 0)
        ahead = _read(at, first + 1, end, x, W, inside, C, 1, WHOLE, BLOCK)
        for y in range(first, last):
            row = _floats(ahead)
            ahead = _read(at, y + 2, end, x, W, inside, C, 1, WHOLE, BLOCK)
            done = _add_products(here, row, taps, 6)
            here, below = _add_products(below, row, taps, 3), _add_products(start, row, taps, 0)
            for i in tl.static_range(COLS):
                out = done[i]
                if FORWARD:
                    out = gelu(out, EXACT)
                elif WHOLE:
                    total += out
                else:
                    total += tl.where(x + i < W, out, 0.0)
                _write(to, out, y, i, x, W, inside, C, WHOLE, BLOCK)
    if not FORWARD:
        tl.store(sums_ptr + (tl.program_id(1) * SUMS + SUMS - 1) * C + c, total, mask=inside)


@tuned(
    ('tuned_for', 'C'),
    triton.Config({'BLOCK': 64}, num_warps=1, num_stages=1, maxnreg=168),
    triton.Config({'BLOCK': 128}, num_warps=2, num_stages=1, maxnreg=168),
    overwritten=('da_ptr',),
)
@triton.jit(do_not_specialize=['B', 'H', 'W', 'rows', 'tuned_for'])
def _differentiate(
    h_ptr,
    da_ptr,
    w_ptr,
    b_ptr,
    dpre_ptr,
    sums_ptr,
    B,
    H,
    W,
    rows,
    tuned_for,
    C: tl.constexpr,
    WHOLE: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """GELU of the convolution, in place of its gradient; the gradient before GELU; and sums over positions."""
    EXACT: tl.constexpr = h_ptr.dtype.element_ty == tl.float32
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    taps = _taps(w_ptr, c, inside, False)
    start = _copies(tl.load(b_ptr + c, mask=inside, other=0).to(tl.float32), COLS)
    sums, total = _copies(tl.zeros((BLOCK,), tl.float32), 9), tl.zeros((BLOCK,), tl.float32)
    for tile in range(tl.program_id(1), B * tl.cdiv(H, rows) * tl.cdiv(W, COLS), tl.num_programs(1)):
        x, first, last, offset = _place(tile, H, W, rows, C)
        at, at_da, to = h_ptr + offset + c, da_ptr + offset + c, dpre_ptr + offset + c
        end = tl.minimum(last + 1, H)
        above = _floats(_read(at, first - 1, end, x, W, inside, C, 1, WHOLE, BLOCK))
        here = _floats(_read(at, first, end, x, W, inside, C, 1, WHOLE, BLOCK))
        ahead = _read(at, first + 1, end, x, W, inside, C, 1, WHOLE, BLOCK)
        da_ahead = _read(at_da, first, last, x, W, inside, C, 0, WHOLE, BLOCK)
        for y in range(first, last):
            below, da = _floats(ahead), _floats(da_ahead)
            ahead = _read(at, y + 2, end, x, W, inside, C, 1, WHOLE, BLOCK)
            da_ahead = _read(at_da, y + 1, last, x, W, inside, C, 0, WHOLE, BLOCK)
            pre = _add_products(_add_products(start, above, taps, 0), here, taps, 3)
            pre = _add_products(pre, below, taps, 6)
            for i in tl.static_range(COLS):
                size = tl.abs(pre[i])
                share = beyond(size, EXACT)
                _write(at_da, tl.maximum(pre[i], 0.0) - size * share, y, i, x, W, inside, C, WHOLE, BLOCK)
                # GELU's derivative at -size; that at size is what it lacks to 1.
                slope = share - size * tl.exp2(LOG_DENSITY - LOG_DECAY * size * size)
                dpre = da[i] * tl.where(pre[i] > 0, 1 - slope, slope)
                _write(to, dpre, y, i, x, W, inside, C, WHOLE, BLOCK)
                sums = _add_correlations(sums, dpre, above, 0, i)
                sums = _add_correlations(sums, dpre, here, 3, i)
                sums = _add_correlations(sums, dpre, below, 6, i)
                total += dpre
            above, here = here, below
    to_sums = sums_ptr + tl.program_id(1) * SUMS * C + c
    for i in tl.static_range(9):
        tl.store(to_sums + i * C, sums[i], mask=inside)
    tl.store(to_sums + 9 * C, total, mask=inside)


def forward(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """GELU, the exact one, of the depthwise 3x3 convolution of ``h``, padded by zeros.

    Args:
        h: (B, H, W, C) without gaps, in float32, bfloat16 or float16.
        w, b: (C, 1, 3, 3) and (C,) without gaps, in any of these types.

    Returns:
        (B, H, W, C), of the type of ``h``.

    Raises:
        ValueError: an image of 2**31 elements or more.
    """
    a = torch.empty_like(h)
    rows, parts = _shares(*h.shape)
    _launch(_convolve, (h, w, b, a, None), rows, parts, FORWARD=True)
    return a


def backward(da: Tensor, h: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """The result of ``forward``, computed again, and gradients.

    Args:
        da: (B, H, W, C) without gaps, of the type of ``h``: the gradient of the result. It is overwritten.
        h, w, b: Those of ``forward``.

    Returns:
        The result, in the memory of ``da``; the gradient of ``h``, of its type; and sums over positions, (11, C) in
        float32: the gradients of the nine taps and of ``b``, and the sum of the gradient of ``h``.
    """
    dpre, dh = torch.empty_like(h), torch.empty_like(h)
    rows, parts = _shares(*h.shape, summed=True)
    sums = h.new_empty((parts, SUMS.value, h.shape[-1]), dtype=torch.float32)
    _launch(_differentiate, (h, da, w, b, dpre, sums), rows, parts)
    _launch(_convolve, (dpre, w, None, dh, sums), rows, parts, FORWARD=False)
    return da, dh, sums.sum(0)


def _launch(kernel: Callable, tensors: tuple[Tensor | None, ...], rows: int, parts: int, **constants: bool) -> None:
    """``kernel`` on maps of the shape of the first tensor: tiles of ``rows`` rows, shared out in ``parts``."""
    batch, height, width, channels = tensors[0].shape
    check_size(height, width, channels)
    launch(
        kernel,
        lambda meta: (ceil_div(channels, meta['BLOCK']), parts),
        tensors,
        (batch, height, width, rows, kind(tensors[0].numel(), width)),
        C=channels,
        WHOLE=width % COLS.value == 0,
        **constants,
    )


@functools.lru_cache(1024)
def _shares(batch: int, height: int, width: int, channels: int, summed: bool = False) -> tuple[int, int]:
    """Rows of a tile, and the parts in which tiles are shared out; these are fewer where each has a row of sums."""
    blocks = ceil_div(channels, BLOCK)
    strips = batch * ceil_div(width, COLS.value)
    bands = ceil_div(height, ROWS)
    while height > 4 * bands and strips * bands * blocks < ONCE:
        bands *= 2
    rows = ceil_div(height, bands)
    tiles = strips * ceil_div(height, rows)
    parts = ceil_div(SEVERAL, blocks)
    if summed:
        parts = min(parts, max(batch * height * width // POSITIONS, ceil_div(ONCE, blocks)))
    # Equal shares.
    return rows, ceil_div(tiles, ceil_div(tiles, parts))
