"""Triton kernels of the weight gradients of the multi-order depthwise convolution, on maps (B, H, W, C).

A tile has ROWS rows, D apart, and COLS columns. A program reads the rows of a tile once per column of taps. Sums are
float32, in the form of the table of weights that ``multi_order_kernels`` describes.

C, low and split (the first channels of the middle and of the high group) come in units of ALIGN channels. This tells
the compiler how many neighbours it may read at once.

Not timed on a GPU in this form.
"""

import triton
import triton.language as tl

from .autotune import autotuned
from .multi_order_kernels import ROWS_5, ROWS_7, count_lines, first_row

# Columns of taps times neighbouring tiles of a program: 5 times 3, or 7 times 2.
SLOTS = tl.constexpr(16)
# Neighbouring tiles of a program at most.
TILES = 3


@triton.jit
def _read(src, y, at, mask, H, pitch, D: tl.constexpr, COUNT: tl.constexpr):
    """Return the elements ``at`` of COUNT rows of ``pitch`` elements, D apart, from row y; zeros outside the map."""
    rows = ()
    for i in tl.static_range(COUNT):
        row = y + i * D
        rows += (tl.load(src + row * pitch + at, mask=mask & (row >= 0) & (row < H), other=0.0).to(tl.float32),)
    return rows


@triton.jit
def _add_row_products(sums, rows, factors, COUNT: tl.constexpr, FACTORS: tl.constexpr):
    """Add to each of COUNT sums, the i-th, the products of the rows from i on with the FACTORS factors."""
    new = ()
    for i in tl.static_range(COUNT):
        added = sums[i]
        for j in tl.static_range(FACTORS):
            added += rows[i + j] * factors[j]
        new += (added,)
    return new


@triton.jit
def _sum_gradients(
    grad,
    src,
    table,
    c,
    inside,
    images,
    H,
    W,
    C,
    K: tl.constexpr,
    D: tl.constexpr,
    COLS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Sum the gradients of K * K taps and of the bias over a chunk of all lines of tiles.

    A program computes SLOTS pairs at once: K columns of taps for each of SLOTS // K neighbouring tiles.
    """
    ROWS: tl.constexpr = ROWS_5 if K == 5 else ROWS_7
    RADIUS: tl.constexpr = K // 2
    TILES: tl.constexpr = SLOTS // K
    slot = tl.arange(0, SLOTS)
    tile, dx = slot // K, slot % K
    valid = (tile < TILES)[:, None, None] & inside[None, None, :]
    chunk, chunks = tl.program_id(0), tl.num_programs(0)
    lines = count_lines(H, D, ROWS)
    length = tl.cdiv(lines * images, chunks)
    bias = tl.zeros((SLOTS, COLS, BLOCK), tl.float32)
    sums = ()
    for _ in tl.static_range(K):
        sums += (bias,)
    for line in range(chunk * length, tl.minimum((chunk + 1) * length, lines * images)):
        image = (line // lines).to(tl.int64) * H * W * C
        y = first_row(line % lines, H, D, ROWS)
        for x in range(0, W, TILES * COLS):
            columns = x + tile[:, None] * COLS + tl.arange(0, COLS)[None, :]
            in_columns = columns + (dx[:, None] - RADIUS) * D
            at = (columns * C)[:, :, None] + c[None, None, :]
            grads = _read(grad + image, y, at, valid & (columns < W)[:, :, None], H, W * C, D, ROWS)
            at = (in_columns * C)[:, :, None] + c[None, None, :]
            mask = valid & ((in_columns >= 0) & (in_columns < W))[:, :, None]
            rows = _read(src + image, y - RADIUS * D, at, mask, H, W * C, D, ROWS + K - 1)
            for r in tl.static_range(ROWS):
                bias += grads[r]
            sums = _add_row_products(sums, rows, grads, K, ROWS)
    table += tile * (chunks * 76 * C)
    at = table[:, None] + c[None, :]
    valid = (tile < TILES)[:, None] & inside[None, :]
    for dy in tl.static_range(K):
        tl.store(at + ((dy * K + dx) * C)[:, None], tl.sum(sums[dy], 1), mask=valid)
    tl.store(at + K * K * C, tl.sum(bias, 1), mask=valid & (dx == 0)[:, None])


@autotuned(
    ('bucket', 'channels'),
    triton.Config({'COLS': 2, 'BLOCK': 32}, num_warps=8, num_stages=1),
    triton.Config({'COLS': 4, 'BLOCK': 32}, num_warps=16, num_stages=1),
)
@triton.jit(do_not_specialize=['H', 'W', 'channels', 'low', 'split', 'images', 'bucket'])
def correlate(
    grad,
    inner,
    grad_inner,
    src,
    table,
    H,
    W,
    channels,
    low,
    split,
    images,
    bucket,
    D0: tl.constexpr,
    D1: tl.constexpr,
    D2: tl.constexpr,
    ALIGN: tl.constexpr,
    COLS: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute tables of gradients (TILES * chunks, TABLE_ROWS, C), which the caller adds.

    ``inner`` is the result of the 5x5 convolution, ``grad_inner`` its gradient. The tables are zero before the launch,
    since a program stores only the rows of its convolutions.
    """
    C, low, split = channels * ALIGN, low * ALIGN, split * ALIGN
    block = (tl.num_programs(1) - 1 - tl.program_id(1)) * BLOCK
    c = block + tl.arange(0, BLOCK)
    table += tl.program_id(0) * 76 * C
    dilated = table + 26 * C
    if tl.program_id(2) == 1:
        _sum_gradients(grad_inner, src, table, c, c < C, images, H, W, C, 5, D0, COLS, BLOCK)
    elif block + BLOCK > low:
        if block < split:
            middle = (c >= low) & (c < split)
            _sum_gradients(grad, inner, dilated, c, middle, images, H, W, C, 5, D1, COLS, BLOCK)
        if block + BLOCK > split:
            high = (c >= split) & (c < C)
            _sum_gradients(grad, inner, dilated, c, high, images, H, W, C, 7, D2, COLS, BLOCK)
