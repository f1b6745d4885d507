"""GELU of a 3x3 depthwise convolution, and its gradients, in three kernels that read and write each map once.

Maps are (B, H, W, C), contiguous. A program computes a block of channels in one tile after the other. A tile has COLS
columns, and some rows that the program walks down. It loads COLS + 2 vectors of channels from each row, one row ahead
of their use. Each value then stays in a float32 register for all outputs that need it. Sums over positions are made in
registers, too. Each program stores its sums in a row of a buffer; the rows are added in a fixed order.

The number of channels is a constant for the compiler, so that the columns of a row lie at fixed distances.

Not timed on a GPU in this form: the backward kernels.
"""

import functools
from collections.abc import Callable

import torch
import triton
import triton.language as tl
from torch import Tensor

from .activations import gelu, normal_tail
from .autotune import TARGET_PROGRAMS, autotuned, ceil_div, launch, size_bucket
from .tiling import check_size

# Sums over positions: gradients of the nine taps and of the bias, and the sum of the gradient of the input.
SUMS = tl.constexpr(11)
# Most rows of a tile, its channels as assumed before autotuning, and its columns. Maps of images of 224 pixels have 56,
# 28, 14 and 7 columns.
MAX_ROWS, BLOCK = 64, 64
COLS = tl.constexpr(7)
# Bounds of the number of programs. The buffer of sums, which has a row per chunk of tiles, limits it to less.
MAX_PROGRAMS, MIN_PROGRAMS = 6 * TARGET_PROGRAMS, TARGET_PROGRAMS * 3 // 2
# Positions per chunk with which the buffer of sums is a twentieth of a map of 16 bits.
POSITIONS_PER_CHUNK = 20 * SUMS.value * 2
# The density of the normal distribution at x is 2 to the power of LOG_DENSITY - LOG_DECAY * x * x.
LOG_DENSITY, LOG_DECAY = tl.constexpr(-1.3257480647361592), tl.constexpr(0.7213475204444817)


@triton.jit
def _read(row_ptr, y, end, x, W, inside, C: tl.constexpr, HALO: tl.constexpr, FULL: tl.constexpr, BLOCK: tl.constexpr):
    """Return row y, columns x - HALO to x + COLS + HALO - 1, as vectors of channels; zeros outside the map.

    ``row_ptr`` points to row 0 of column x. Rows from ``end`` on are not read. FULL: all COLS columns exist.
    """
    row_ptr += y * W * C
    exists = (y >= 0) & (y < end)
    row = ()
    for i in tl.static_range(COLS + 2 * HALO):
        mask = exists
        if i < HALO:
            mask = mask & (x + i >= HALO)
        elif i >= COLS + HALO or not FULL:
            mask = mask & (x + i < W + HALO)
        if C % BLOCK:
            mask = mask & inside
        row += (tl.load(row_ptr + (i - HALO) * C, mask=mask, other=0),)
    return row


@triton.jit
def _write(
    row_ptr, vector, y, column: tl.constexpr, x, W, inside, C: tl.constexpr, FULL: tl.constexpr, BLOCK: tl.constexpr
):
    """Store a vector of channels in row y, column x + ``column``, if that exists."""
    row_ptr += y * W * C
    vector = vector.to(row_ptr.dtype.element_ty)
    if FULL and C % BLOCK == 0:
        tl.store(row_ptr + column * C, vector)
    elif FULL:
        tl.store(row_ptr + column * C, vector, mask=inside)
    else:
        tl.store(row_ptr + column * C, vector, mask=inside & (x + column < W))


@triton.jit
def _to_float(row):
    """Convert the vectors of a row to float32."""
    converted = ()
    for i in tl.static_range(len(row)):
        converted += (row[i].to(tl.float32),)
    return converted


@triton.jit
def _taps(w_ptr, c, inside, FLIP: tl.constexpr):
    """Return the taps of the weight (C, 1, 3, 3), row by row; FLIP: in reverse, for the transposed convolution."""
    taps = ()
    for i in tl.static_range(9):
        taps += (tl.load(w_ptr + c * 9 + (8 - i if FLIP else i), mask=inside, other=0).to(tl.float32),)
    return taps


@triton.jit
def _repeated(vector, COUNT: tl.constexpr):
    """Return a tuple with COUNT times the vector."""
    repeated = ()
    for _ in tl.static_range(COUNT):
        repeated += (vector,)
    return repeated


@triton.jit
def _locate(tile, H, W, rows, C: tl.constexpr):
    """Return a tile's first column and row, the row after its last, and the offset of its image and column."""
    strips, bands = tl.cdiv(W, COLS), tl.cdiv(H, rows)
    x, y = tile % strips * COLS, tile // strips % bands * rows
    return x, y, tl.minimum(y + rows, H), (tile // strips // bands).to(tl.int64) * H * W * C + x * C


@triton.jit
def _add_taps(outs, row, taps, FIRST: tl.constexpr):
    """Add to the outputs of a row of columns the products of a row of inputs with three taps, from FIRST on."""
    added = ()
    for i in tl.static_range(len(outs)):
        added += (outs[i] + taps[FIRST] * row[i] + taps[FIRST + 1] * row[i + 1] + taps[FIRST + 2] * row[i + 2],)
    return added


@triton.jit
def _add_tap_gradients(sums, dpre, row, FIRST: tl.constexpr, COLUMN: tl.constexpr):
    """Add to the gradients of three taps, from FIRST on, the products of a row with the gradient of column COLUMN."""
    added = ()
    for i in tl.static_range(len(sums)):
        if i >= FIRST and i < FIRST + 3:
            added += (sums[i] + dpre * row[COLUMN + i - FIRST],)
        else:
            added += (sums[i],)
    return added


@autotuned(
    ('bucket', 'C', 'FORWARD'),
    triton.Config({'BLOCK': 64}, num_warps=1, num_stages=1),
    triton.Config({'BLOCK': 128}, num_warps=2, num_stages=1),
)
@triton.jit(do_not_specialize=['B', 'H', 'W', 'rows', 'bucket'])
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
    bucket,
    C: tl.constexpr,
    FULL: tl.constexpr,
    FORWARD: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute GELU of the convolution (FORWARD), or the transposed convolution and its sums over positions.

    ``sums_ptr`` is None if FORWARD, ``b_ptr`` if not.
    """
    EXACT: tl.constexpr = x_ptr.dtype.element_ty == tl.float32
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    taps = _taps(w_ptr, c, inside, not FORWARD)
    bias, total = tl.zeros((BLOCK,), tl.float32), tl.zeros((BLOCK,), tl.float32)
    if FORWARD:
        bias = tl.load(b_ptr + c, mask=inside, other=0).to(tl.float32)
    start = _repeated(bias, COLS)
    for tile in range(tl.program_id(1), B * tl.cdiv(H, rows) * tl.cdiv(W, COLS), tl.num_programs(1)):
        x, first, last, offset = _locate(tile, H, W, rows, C)
        row_ptr, out_row = x_ptr + offset + c, out_ptr + offset + c
        end = tl.minimum(last + 1, H)
        # Outputs of the current row and of the one below, summed over the rows read so far.
        row = _to_float(_read(row_ptr, first - 1, end, x, W, inside, C, 1, FULL, BLOCK))
        current = _add_taps(start, row, taps, 0)
        row = _to_float(_read(row_ptr, first, end, x, W, inside, C, 1, FULL, BLOCK))
        current, below = _add_taps(current, row, taps, 3), _add_taps(start, row, taps, 0)
        ahead = _read(row_ptr, first + 1, end, x, W, inside, C, 1, FULL, BLOCK)
        for y in range(first, last):
            row = _to_float(ahead)
            ahead = _read(row_ptr, y + 2, end, x, W, inside, C, 1, FULL, BLOCK)
            done = _add_taps(current, row, taps, 6)
            current, below = _add_taps(below, row, taps, 3), _add_taps(start, row, taps, 0)
            for i in tl.static_range(COLS):
                out = done[i]
                if FORWARD:
                    out = gelu(out, EXACT)
                elif FULL:
                    total += out
                else:
                    total += tl.where(x + i < W, out, 0.0)
                _write(out_row, out, y, i, x, W, inside, C, FULL, BLOCK)
    if not FORWARD:
        tl.store(sums_ptr + (tl.program_id(1) * SUMS + SUMS - 1) * C + c, total, mask=inside)


@autotuned(
    ('bucket', 'C'),
    triton.Config({'BLOCK': 64}, num_warps=1, num_stages=1, maxnreg=168),
    triton.Config({'BLOCK': 128}, num_warps=2, num_stages=1, maxnreg=168),
    overwritten=('da_ptr',),
)
@triton.jit(do_not_specialize=['B', 'H', 'W', 'rows', 'bucket'])
def _backward(
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
    bucket,
    C: tl.constexpr,
    FULL: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Store GELU of the convolution in place of its gradient, the gradient before GELU, and sums over positions."""
    EXACT: tl.constexpr = h_ptr.dtype.element_ty == tl.float32
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = c < C
    taps = _taps(w_ptr, c, inside, False)
    start = _repeated(tl.load(b_ptr + c, mask=inside, other=0).to(tl.float32), COLS)
    sums, total = _repeated(tl.zeros((BLOCK,), tl.float32), 9), tl.zeros((BLOCK,), tl.float32)
    for tile in range(tl.program_id(1), B * tl.cdiv(H, rows) * tl.cdiv(W, COLS), tl.num_programs(1)):
        x, first, last, offset = _locate(tile, H, W, rows, C)
        row_ptr, da_row, out_row = h_ptr + offset + c, da_ptr + offset + c, dpre_ptr + offset + c
        end = tl.minimum(last + 1, H)
        above = _to_float(_read(row_ptr, first - 1, end, x, W, inside, C, 1, FULL, BLOCK))
        current = _to_float(_read(row_ptr, first, end, x, W, inside, C, 1, FULL, BLOCK))
        ahead = _read(row_ptr, first + 1, end, x, W, inside, C, 1, FULL, BLOCK)
        da_ahead = _read(da_row, first, last, x, W, inside, C, 0, FULL, BLOCK)
        for y in range(first, last):
            below, da = _to_float(ahead), _to_float(da_ahead)
            ahead = _read(row_ptr, y + 2, end, x, W, inside, C, 1, FULL, BLOCK)
            da_ahead = _read(da_row, y + 1, last, x, W, inside, C, 0, FULL, BLOCK)
            pre = _add_taps(_add_taps(start, above, taps, 0), current, taps, 3)
            pre = _add_taps(pre, below, taps, 6)
            for i in tl.static_range(COLS):
                magnitude = tl.abs(pre[i])
                tail = normal_tail(magnitude, EXACT)
                _write(da_row, tl.maximum(pre[i], 0.0) - magnitude * tail, y, i, x, W, inside, C, FULL, BLOCK)
                # The derivative of GELU at -magnitude; the derivative at +magnitude is 1 minus it.
                derivative = tail - magnitude * tl.exp2(LOG_DENSITY - LOG_DECAY * magnitude * magnitude)
                dpre = da[i] * tl.where(pre[i] > 0, 1 - derivative, derivative)
                _write(out_row, dpre, y, i, x, W, inside, C, FULL, BLOCK)
                sums = _add_tap_gradients(sums, dpre, above, 0, i)
                sums = _add_tap_gradients(sums, dpre, current, 3, i)
                sums = _add_tap_gradients(sums, dpre, below, 6, i)
                total += dpre
            above, current = current, below
    sums_row = sums_ptr + tl.program_id(1) * SUMS * C + c
    for i in tl.static_range(9):
        tl.store(sums_row + i * C, sums[i], mask=inside)
    tl.store(sums_row + 9 * C, total, mask=inside)


def forward(h: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Return the exact GELU of the depthwise 3x3 convolution of ``h`` with zero padding.

    Args:
        h: (B, H, W, C), contiguous, in float32, bfloat16 or float16.
        w: Weight (C, 1, 3, 3), contiguous, in any of these types.
        b: Bias (C), contiguous, in any of these types.

    Returns:
        (B, H, W, C), of the type of ``h``.

    Raises:
        ValueError: An image has 2**31 elements or more.
    """
    a = torch.empty_like(h)
    rows, chunks = tiling_of(*h.shape)
    _launch(_convolve, h, (w, b, a, None), rows, chunks, FORWARD=True)
    return a


def backward(da: Tensor, h: Tensor, w: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the result of ``forward``, computed again, and its gradients.

    Args:
        da: Gradient of the result (B, H, W, C), contiguous, of the type of ``h``; overwritten.
        h: Argument of ``forward``.
        w: Argument of ``forward``.
        b: Argument of ``forward``.

    Returns:
        The result, in the memory of ``da``. The gradient of ``h``, of its type. Sums over positions (11, C) in float32:
        the gradients of the nine taps and of ``b``, and the sum of the gradient of ``h``.

    Raises:
        ValueError: An image has 2**31 elements or more.
    """
    dpre, dh = torch.empty_like(h), torch.empty_like(h)
    rows, chunks = tiling_of(*h.shape, summed=True)
    sums = h.new_empty((chunks, SUMS.value, h.shape[-1]), dtype=torch.float32)
    _launch(_backward, h, (da, w, b, dpre, sums), rows, chunks)
    _launch(_convolve, dpre, (w, None, dh, sums), rows, chunks, FORWARD=False)
    return da, dh, sums.sum(0)


def _launch(
    kernel: Callable, h: Tensor, others: tuple[Tensor | None, ...], rows: int, chunks: int, **constants: bool
) -> None:
    """Run ``kernel`` on maps of the shape of ``h``, its first argument: tiles of ``rows`` rows in ``chunks`` chunks."""
    batch, height, width, channels = h.shape
    check_size(height, width, channels)
    launch(
        kernel,
        lambda meta: (ceil_div(channels, meta['BLOCK']), chunks),
        (h, *others),
        (batch, height, width, rows, size_bucket(h.numel(), width)),
        C=channels,
        FULL=width % COLS.value == 0,
        **constants,
    )


@functools.lru_cache(1024)
def tiling_of(batch: int, height: int, width: int, channels: int, summed: bool = False) -> tuple[int, int]:
    """Return the rows of a tile and the number of chunks of tiles; ``summed``: each chunk has a row of sums."""
    blocks = ceil_div(channels, BLOCK)
    strips = batch * ceil_div(width, COLS.value)
    bands = ceil_div(height, MAX_ROWS)
    while height > 4 * bands and strips * bands * blocks < MIN_PROGRAMS:
        bands *= 2
    rows = ceil_div(height, bands)
    tiles = strips * ceil_div(height, rows)
    chunks = ceil_div(MAX_PROGRAMS, blocks)
    if summed:
        chunks = min(chunks, max(batch * height * width // POSITIONS_PER_CHUNK, ceil_div(MIN_PROGRAMS, blocks)))
    # Chunks of equal length.
    return rows, ceil_div(tiles, ceil_div(tiles, chunks))
