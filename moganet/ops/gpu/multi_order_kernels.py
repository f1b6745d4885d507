"""Triton kernels of the multi-order depthwise convolution and of its gradients, on maps (B, H, W, C).

A program has a block of channels and goes through tiles: ROWS rows, D apart, of COLS columns. Rows that far apart are
those that a kernel dilated by D sees together. Per column of taps a tile's rows are read once, and used, while they are
in registers, by all outputs of the tile that they reach: 35 products for 11 reads. Sums are float32.

Weights and biases come as a table of float32, TABLE_ROWS by C: 25 taps of the 5x5 convolution and its bias, then the
25 or 49 taps of the dilated convolution that a channel has, and its bias. Their gradients are summed in the same form.

C, low and split (the first channels of the middle and of the high group) come in units of ALIGN channels: it tells the
compiler how many neighbours it may read at once.
"""

import triton
import triton.language as tl

from .tuning import tuned

TABLE_ROWS = 76
# Rows of a tile. Of maps of 56, 28 and 14 rows, these waste none; only the 7x7 dilated by 3 does, one row in 20.
ROWS_5, ROWS_7 = tl.constexpr(7), tl.constexpr(5)
# Columns of taps and tiles side by side that ``correlate`` has at once: 3 times 5, or 2 times 7.
SLOTS = tl.constexpr(16)
BESIDE = 3


@triton.jit
def _lines(H, D: tl.constexpr, ROWS: tl.constexpr):
    """Lines of tiles of a map: D times as many as would be if tiles had neighbouring rows."""
    return tl.cdiv(tl.cdiv(H, D), ROWS) * D


@triton.jit
def _first_row(line, H, D: tl.constexpr, ROWS: tl.constexpr):
    """Of a line of tiles."""
    down = tl.cdiv(tl.cdiv(H, D), ROWS)
    return line % down * (ROWS * D) + line // down


@triton.jit
def _read(src, y, at, mask, H, pitch, D: tl.constexpr, COUNT: tl.constexpr):
    """COUNT rows of ``pitch`` elements, D apart, from row y: their elements ``at``; zeros outside the map."""
    rows = ()
    for i in tl.static_range(COUNT):
        row = y + i * D
        rows += (tl.load(src + row * pitch + at, mask=mask & (row >= 0) & (row < H), other=0.0).to(tl.float32),)
    return rows


@triton.jit
def _convolve(src, dst, dst_low, table, c, inside, low, start, step, H, W, C,
              K: tl.constexpr, D: tl.constexpr, ROWS: tl.constexpr, COLS: tl.constexpr,
              FLIP: tl.constexpr, BIAS: tl.constexpr, LOW: tl.constexpr):  # fmt: skip
    """Tiles start, start + step, ... of a map. FLIP: by the transposed kernel. LOW: the low channels go to dst_low."""
    HALF: tl.constexpr = K // 2
    far = tl.minimum((W - 1) // D, HALF)  # columns of taps further out meet no column of the map
    across = tl.cdiv(W, COLS)
    for tile in range(start, across * _lines(H, D, ROWS), step):
        y = _first_row(tile // across, H, D, ROWS)
        columns = tile % across * COLS + tl.arange(0, COLS)
        first = tl.load(table + K * K * C + c, mask=inside & BIAS, other=0.0)
        sums = ()
        for _ in tl.static_range(ROWS):
            sums += (tl.zeros((COLS, 1), tl.float32) + first[None, :],)
        for dx in range(HALF - far, HALF + far + 1):
            seen = columns + (dx - HALF) * D
            mask = ((seen >= 0) & (seen < W))[:, None] & inside[None, :]
            at = (seen * C)[:, None] + c[None, :]
            rows = _read(src, y - HALF * D, at, mask, H, W * C, D, ROWS + K - 1)
            taps = ()
            for dy in tl.static_range(K):
                tap = (K - 1 - dy) * K + K - 1 - dx if FLIP else dy * K + dx
                taps += (tl.load(table + tap * C + c, mask=inside, other=0.0)[None, :],)
            sums = _add_products(sums, rows, taps, ROWS, K)
        mask = (columns < W)[:, None] & inside[None, :]
        at = (columns * C)[:, None] + c[None, :]
        for r in tl.static_range(ROWS):
            row = y + r * D
            out = sums[r].to(dst.dtype.element_ty)
            if LOW:
                tl.store(dst_low + row * W * C + at, out, mask=mask & (row < H) & (c < low)[None, :])
                tl.store(dst + row * W * C + at, out, mask=mask & (row < H) & (c >= low)[None, :])
            else:
                tl.store(dst + row * W * C + at, out, mask=mask & (row < H))


@triton.jit
def _add_products(sums, rows, factors, COUNT: tl.constexpr, FACTORS: tl.constexpr):
    """Add to sum i of COUNT the products of rows i, i + 1, ... with the FACTORS factors."""
    new = ()
    for i in tl.static_range(COUNT):
        added = sums[i]
        for j in tl.static_range(FACTORS):
            added += rows[i + j] * factors[j]
        new += (added,)
    return new


@tuned(
    ('tuned_for', 'channels', 'FIRST', 'SECOND', 'BACKWARD'),
    triton.Config({'COLS': 8, 'BLOCK': 32}, num_warps=2, num_stages=1),
    triton.Config({'COLS': 8, 'BLOCK': 32}, num_warps=2, num_stages=1, maxnreg=128),
    triton.Config({'COLS': 8, 'BLOCK': 64}, num_warps=4, num_stages=1, maxnreg=128),
)
@triton.jit(do_not_specialize=['H', 'W', 'channels', 'low', 'split', 'images', 'tuned_for'])
def convolve(src, between, dst, table, H, W, channels, low, split, images, tuned_for,
             D0: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr, ALIGN: tl.constexpr,
             FIRST: tl.constexpr, SECOND: tl.constexpr, BACKWARD: tl.constexpr,
             COLS: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """The 5x5 convolution into ``between`` (its low channels into ``dst``), then the dilated ones of it into ``dst``.

    BACKWARD: the transposed dilated ones into ``between``, which has its low channels, then the transposed 5x5 of it.
    Both steps in one launch need a program per image and block: it waits for itself alone.
    """
    C, low, split = channels * ALIGN, low * ALIGN, split * ALIGN
    step = tl.num_programs(0) // images
    start = tl.program_id(0) % step
    image = (tl.program_id(0) // step).to(tl.int64) * H * W * C
    block = (tl.num_programs(1) - 1 - tl.program_id(1)) * BLOCK  # those that take longest come first
    src, between, dst = src + image, between + image, dst + image
    c = block + tl.arange(0, BLOCK)
    dilated = table + 26 * C
    if FIRST and BACKWARD:
        _dilated(src, between, dilated, c, block, low, split, start, step, H, W, C, D1, D2, BLOCK, COLS, True)
    if FIRST and not BACKWARD:
        _convolve(src, between, dst, table, c, c < C, low, start, step, H, W, C,
                  5, D0, ROWS_5, COLS, False, True, True)  # fmt: skip
    if FIRST and SECOND:
        tl.debug_barrier()
    if SECOND and BACKWARD:
        _convolve(between, dst, dst, table, c, c < C, low, start, step, H, W, C,
                  5, D0, ROWS_5, COLS, True, False, False)  # fmt: skip
    if SECOND and not BACKWARD:
        _dilated(between, dst, dilated, c, block, low, split, start, step, H, W, C, D1, D2, BLOCK, COLS, False)


@triton.jit
def _dilated(src, dst, table, c, block, low, split, start, step, H, W, C, D1: tl.constexpr, D2: tl.constexpr,
             BLOCK: tl.constexpr, COLS: tl.constexpr, FLIP: tl.constexpr):  # fmt: skip
    """The dilated convolutions of those channels of a block that have one; a block may have both."""
    if (block < split) & (block + BLOCK > low):
        _convolve(src, dst, dst, table, c, (c >= low) & (c < split), low, start, step, H, W, C,
                  5, D1, ROWS_5, COLS, FLIP, not FLIP, False)  # fmt: skip
    if block + BLOCK > split:
        _convolve(src, dst, dst, table, c, (c >= split) & (c < C), low, start, step, H, W, C,
                  7, D2, ROWS_7, COLS, FLIP, not FLIP, False)  # fmt: skip


@triton.jit
def _correlate(grad, src, table, tables, c, inside, part, parts, images, H, W, C,
               K: tl.constexpr, D: tl.constexpr, ROWS: tl.constexpr,
               COLS: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Gradients of K * K taps and of the bias, summed over a part of all lines of tiles.

    There are SLOTS tiles at once: as many columns of taps, for as many tiles side by side, as fit into them.
    """
    HALF: tl.constexpr = K // 2
    BESIDE: tl.constexpr = SLOTS // K
    slot = tl.arange(0, SLOTS)
    beside, dx = slot // K, slot % K
    used = (beside < BESIDE)[:, None, None] & inside[None, None, :]
    lines = _lines(H, D, ROWS)
    share = tl.cdiv(lines * images, parts)
    bias = tl.zeros((SLOTS, COLS, BLOCK), tl.float32)
    sums = ()
    for _ in tl.static_range(K):
        sums += (bias,)
    for line in range(part * share, tl.minimum((part + 1) * share, lines * images)):
        image = (line // lines).to(tl.int64) * H * W * C
        y = _first_row(line % lines, H, D, ROWS)
        for x in range(0, W, BESIDE * COLS):
            columns = x + beside[:, None] * COLS + tl.arange(0, COLS)[None, :]
            seen = columns + (dx[:, None] - HALF) * D
            at = (columns * C)[:, :, None] + c[None, None, :]
            outs = _read(grad + image, y, at, used & (columns < W)[:, :, None], H, W * C, D, ROWS)
            at = (seen * C)[:, :, None] + c[None, None, :]
            mask = used & ((seen >= 0) & (seen < W))[:, :, None]
            rows = _read(src + image, y - HALF * D, at, mask, H, W * C, D, ROWS + K - 1)
            for r in tl.static_range(ROWS):
                bias += outs[r]
            sums = _add_products(sums, rows, outs, K, ROWS)
    table += beside * tables
    at = table[:, None] + c[None, :]
    used = (beside < BESIDE)[:, None] & inside[None, :]
    for dy in tl.static_range(K):
        tl.store(at + ((dy * K + dx) * C)[:, None], tl.sum(sums[dy], 1), mask=used)
    tl.store(at + K * K * C, tl.sum(bias, 1), mask=used & (dx == 0)[:, None])


@tuned(
    ('tuned_for', 'channels'),
    triton.Config({'COLS': 2, 'BLOCK': 32}, num_warps=8, num_stages=1),
    triton.Config({'COLS': 4, 'BLOCK': 32}, num_warps=16, num_stages=1),
)
@triton.jit(do_not_specialize=['H', 'W', 'channels', 'low', 'split', 'images', 'tuned_for'])
def correlate(grad, between, grad_between, src, table, H, W, channels, low, split, images, tuned_for,
              D0: tl.constexpr, D1: tl.constexpr, D2: tl.constexpr, ALIGN: tl.constexpr,
              COLS: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Tables of gradients, (BESIDE * parts, TABLE_ROWS, C), to be summed; what is not written has to be zero.

    ``between`` is the result of the 5x5 convolution, ``grad_between`` its gradient.
    """
    C, low, split = channels * ALIGN, low * ALIGN, split * ALIGN
    part, parts = tl.program_id(0), tl.num_programs(0)
    block = (tl.num_programs(1) - 1 - tl.program_id(1)) * BLOCK
    c = block + tl.arange(0, BLOCK)
    tables = parts * 76 * C
    table += part * 76 * C
    dilated = table + 26 * C
    if tl.program_id(2) == 1:
        _correlate(grad_between, src, table, tables, c, c < C, part, parts, images, H, W, C,
                   5, D0, ROWS_5, COLS, BLOCK)  # fmt: skip
    elif block + BLOCK > low:
        if block < split:
            _correlate(grad, between, dilated, tables, c, (c >= low) & (c < split), part, parts, images, H, W, C,
                       5, D1, ROWS_5, COLS, BLOCK)  # fmt: skip
        if block + BLOCK > split:
            _correlate(grad, between, dilated, tables, c, (c >= split) & (c < C), part, parts, images, H, W, C,
                       7, D2, ROWS_7, COLS, BLOCK)  # fmt: skip


@triton.jit(do_not_specialize=['C', 'low', 'split'])
def copy_table(table, w0, b0, w1, b1, w2, b2, C, low, split,
               TO_TABLE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr):  # fmt: skip
    """Weights (channels, 1, k, k) and biases into the table, or out of it."""
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    c = (tl.program_id(1) * BLOCK + tl.arange(0, BLOCK))[None, :]
    at = table + row * C + c
    _copy(at, w0 + c * 25 + row, (row < 25) & (c < C), TO_TABLE)
    _copy(at, b0 + c + 0 * row, (row == 25) & (c < C), TO_TABLE)
    tap = row - 26
    middle, high = (tap >= 0) & (c >= low) & (c < split), (tap >= 0) & (c >= split) & (c < C)
    _copy(at, w1 + (c - low) * 25 + tap, middle & (tap < 25), TO_TABLE)
    _copy(at, b1 + (c - low) + 0 * row, middle & (tap == 25), TO_TABLE)
    _copy(at, w2 + (c - split) * 49 + tap, high & (tap < 49), TO_TABLE)
    _copy(at, b2 + (c - split) + 0 * row, high & (tap == 49), TO_TABLE)


@triton.jit
def _copy(table, weights, mask, TO_TABLE: tl.constexpr):
    if TO_TABLE:
        tl.store(table, tl.load(weights, mask=mask).to(tl.float32), mask=mask)
    else:
        tl.store(weights, tl.load(table, mask=mask).to(weights.dtype.element_ty), mask=mask)
