"""Triton kernels of the multi-order depthwise convolution and of its gradients, on maps (B, H, W, C).

A convolution goes through strips: ROWS rows, D apart, and some columns, D apart, which are those that a kernel dilated
by D sees together. Of each column a program reads its rows once, a column ahead of their use, and adds their products
to the sums of the K columns of outputs that they reach. All of that is in registers: the taps, the sums, the column.
Gradients of weights go through tiles of such rows; a tile's rows are read once per column of taps. Sums are float32.

Weights and biases come as a table of float32, TABLE_ROWS by C: 25 taps of the 5x5 convolution and its bias, then the
25 or 49 taps of the dilated convolution that a channel has, and its bias. Their gradients are summed in the same form.

The compiler knows the number of channels of a convolution: columns lie at fixed distances. Kernels of gradients have
C, low and split (the first channels of the middle and of the high group) in units of ALIGN channels: it tells the
compiler how many neighbours it may read at once.
"""

import triton
import triton.language as tl

from .autotune import tuned

TABLE_ROWS = 76
# Rows of a strip or tile. Of maps of 56, 28 and 14 rows, these waste none; only the 7x7 dilated by 3 does, one row in
# 20.
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
def _read_column(
    at, x, y, exists, H, W, inside, C: tl.constexpr, D: tl.constexpr, COUNT: tl.constexpr, WHOLE: tl.constexpr
):
    """COUNT rows, D apart, from row y, of column x: vectors of channels; zeros outside the map, or unless it exists.

    WHOLE: all lanes are inside.
    """
    exists = exists & (x >= 0) & (x < W)
    at += x * C
    column = ()
    for i in tl.static_range(COUNT):
        row = y + i * D
        mask = exists & (row >= 0) & (row < H)
        if not WHOLE:
            mask = mask & inside
        column += (tl.load(at + row * W * C, mask=mask, other=0.0),)
    return column


@triton.jit
def _write_column(
    at,
    sums,
    FIRST: tl.constexpr,
    x,
    y,
    exists,
    H,
    W,
    inside,
    C: tl.constexpr,
    D: tl.constexpr,
    ROWS: tl.constexpr,
    WHOLE: tl.constexpr,
):
    """ROWS sums, from FIRST on, into the rows, D apart, from row y, of column x, if that exists."""
    at += x * C
    for i in tl.static_range(ROWS):
        row = y + i * D
        mask = exists & (row < H)
        if not WHOLE:
            mask = mask & inside
        tl.store(at + row * W * C, sums[FIRST + i].to(at.dtype.element_ty), mask=mask)


@triton.jit
def _taps(table, c, inside, flip, C: tl.constexpr, K: tl.constexpr):
    """Those of a kernel, row by row; flip: from its end, for the transposed convolution."""
    taps = ()
    for i in tl.static_range(K * K):
        taps += (tl.load(table + (i + flip * (K * K - 1 - 2 * i)) * C + c, mask=inside, other=0.0),)
    return taps


@triton.jit
def _add_column(sums, start, column, taps, K: tl.constexpr, ROWS: tl.constexpr):
    """The sums of K columns of outputs and a new column, which is right of K - 1 of them; the last one starts here."""
    PAD: tl.constexpr = (len(column) - ROWS) // 2  # rows that were read above and below those of the outputs
    added = ()
    for i in tl.static_range(K):
        for r in tl.static_range(ROWS):
            total = sums[i * ROWS + r] if i < K - 1 else start
            for dy in tl.static_range(K):
                if r + dy >= K // 2 - PAD and r + dy < ROWS + K // 2 + PAD:
                    total = tl.fma(taps[dy * K + K - 1 - i], column[r + dy - K // 2 + PAD], total)
            added += (total,)
    return added


@triton.jit
def _walk(
    src,
    dst_low,
    dst,
    table,
    block,
    images,
    length,
    flip,
    H,
    W,
    C: tl.constexpr,
    START: tl.constexpr,
    LOW: tl.constexpr,
    END: tl.constexpr,
    K: tl.constexpr,
    D: tl.constexpr,
    ROWS: tl.constexpr,
    FIT: tl.constexpr,
    IMAGES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """A program's strips, ``length`` columns each, of a block of the channels START to END; those below LOW go to
    ``dst_low``.

    FIT: all rows that are D apart are in one strip, so that none of those around it exists.
    BLOCK, IMAGES: lanes of a program, shared out among as many images.
    flip: by the transposed kernel, and without the bias.
    """
    HALF: tl.constexpr = K // 2
    PAD: tl.constexpr = 0 if FIT else HALF
    GROUP: tl.constexpr = BLOCK // IMAGES
    WHOLE: tl.constexpr = IMAGES == 1 and (END - START) % BLOCK == 0
    lane = tl.arange(0, BLOCK)
    c, which = START + block * GROUP + lane % GROUP, lane // GROUP
    inside = c < END
    taps = _taps(table, c, inside, flip, C, K)
    start = tl.load(table + K * K * C + c, mask=inside & (flip == 0), other=0.0)
    lines, across = _lines(H, D, ROWS), tl.cdiv(tl.cdiv(W, D), length) * D
    for strip in range(tl.program_id(0), tl.cdiv(images, IMAGES) * lines * across, tl.num_programs(0)):
        x = strip % across // D * length * D + strip % D
        y = _first_row(strip // across % lines, H, D, ROWS)
        image = strip // across // lines * IMAGES + which
        place = image.to(tl.int64) * H * W * C + c
        there = inside & (image < images)
        to = tl.where(c < LOW, dst_low + place, dst + place) if LOW else dst + place
        sums = ()
        for _ in tl.static_range(ROWS * (K - 1)):
            sums += (start,)
        # From the first column that exists and is reached; those after the last one add nothing to what they reach.
        first, end = tl.maximum(x - HALF * D, strip % D), tl.minimum(x + length * D, W)
        stop = tl.minimum(end + HALF * D, W)
        ahead = _read_column(src + place, first, y - PAD * D, first < stop, H, W, there, C, D, ROWS + 2 * PAD, WHOLE)
        for now in range(first, stop, D):
            column = ()
            for i in tl.static_range(ROWS + 2 * PAD):
                column += (ahead[i].to(tl.float32),)
            ahead = _read_column(
                src + place, now + D, y - PAD * D, now + D < stop, H, W, there, C, D, ROWS + 2 * PAD, WHOLE
            )
            added = _add_column(sums, start, column, taps, K, ROWS)
            done = now - HALF * D
            _write_column(to, added, 0, done, y, done >= x, H, W, there, C, D, ROWS, WHOLE)
            sums = ()
            for i in tl.static_range(ROWS * (K - 1)):
                sums += (added[ROWS + i],)
        done = first + (tl.cdiv(stop - first, D) - HALF) * D
        for i in tl.static_range(HALF):
            _write_column(to, sums, i * ROWS, done, y, (done >= x) & (done < end), H, W, there, C, D, ROWS, WHOLE)
            done += D


@tuned(
    ('tuned_for', 'C', 'FIT', 'IMAGES'),
    triton.Config({'BLOCK': 64}, num_warps=1, num_stages=1),
    triton.Config({'BLOCK': 64}, num_warps=1, num_stages=1, maxnreg=168),
)
@triton.jit(do_not_specialize=['H', 'W', 'images', 'length', 'tuned_for', 'flip'])
def convolve(
    src,
    dst_low,
    dst,
    table,
    H,
    W,
    images,
    length,
    tuned_for,
    flip,
    C: tl.constexpr,
    LOW: tl.constexpr,
    D: tl.constexpr,
    FIT: tl.constexpr,
    IMAGES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The 5x5 convolution of all channels; the first LOW of them go into ``dst_low``, the others into ``dst``."""
    _walk(
        src,
        dst_low,
        dst,
        table,
        tl.program_id(1),
        images,
        length,
        flip,
        H,
        W,
        C,
        0,
        LOW,
        C,
        5,
        D,
        ROWS_5,
        FIT,
        IMAGES,
        BLOCK,
    )


@tuned(
    ('tuned_for', 'C', 'FIT_5', 'FIT_7', 'IMAGES'),
    # As many registers as leave room for one more program than without a limit.
    triton.Config({'BLOCK': 64}, num_warps=1, num_stages=1, maxnreg=224),
)
@triton.jit(do_not_specialize=['H', 'W', 'images', 'length_5', 'length_7', 'tuned_for', 'flip'])
def convolve_dilated(
    src,
    dst,
    table,
    H,
    W,
    images,
    length_5,
    length_7,
    tuned_for,
    flip,
    C: tl.constexpr,
    LOW: tl.constexpr,
    SPLIT: tl.constexpr,
    D1: tl.constexpr,
    D2: tl.constexpr,
    FIT_5: tl.constexpr,
    FIT_7: tl.constexpr,
    IMAGES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """The 5x5 convolution, dilated by D1, of channels LOW to SPLIT, and the 7x7, dilated by D2, of those from SPLIT."""
    table += 26 * C
    block, high = tl.program_id(1), tl.cdiv(C - SPLIT, BLOCK // IMAGES)
    if block < high:  # those that take longest come first
        _walk(
            src,
            dst,
            dst,
            table,
            block,
            images,
            length_7,
            flip,
            H,
            W,
            C,
            SPLIT,
            0,
            C,
            7,
            D2,
            ROWS_7,
            FIT_7,
            IMAGES,
            BLOCK,
        )
    else:
        _walk(
            src,
            dst,
            dst,
            table,
            block - high,
            images,
            length_5,
            flip,
            H,
            W,
            C,
            LOW,
            0,
            SPLIT,
            5,
            D1,
            ROWS_5,
            FIT_5,
            IMAGES,
            BLOCK,
        )


@triton.jit
def _read(src, y, at, mask, H, pitch, D: tl.constexpr, COUNT: tl.constexpr):
    """COUNT rows of ``pitch`` elements, D apart, from row y: their elements ``at``; zeros outside the map."""
    rows = ()
    for i in tl.static_range(COUNT):
        row = y + i * D
        rows += (tl.load(src + row * pitch + at, mask=mask & (row >= 0) & (row < H), other=0.0).to(tl.float32),)
    return rows


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


@triton.jit
def _correlate(
    grad,
    src,
    table,
    tables,
    c,
    inside,
    part,
    parts,
    images,
    H,
    W,
    C,
    K: tl.constexpr,
    D: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
    BLOCK: tl.constexpr,
):
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
def correlate(
    grad,
    between,
    grad_between,
    src,
    table,
    H,
    W,
    channels,
    low,
    split,
    images,
    tuned_for,
    D0: tl.constexpr,
    D1: tl.constexpr,
    D2: tl.constexpr,
    ALIGN: tl.constexpr,
    COLS: tl.constexpr,
    BLOCK: tl.constexpr,
):
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
        _correlate(grad_between, src, table, tables, c, c < C, part, parts, images, H, W, C, 5, D0, ROWS_5, COLS, BLOCK)
    elif block + BLOCK > low:
        if block < split:
            _correlate(
                grad,
                between,
                dilated,
                tables,
                c,
                (c >= low) & (c < split),
                part,
                parts,
                images,
                H,
                W,
                C,
                5,
                D1,
                ROWS_5,
                COLS,
                BLOCK,
            )
        if block + BLOCK > split:
            _correlate(
                grad,
                between,
                dilated,
                tables,
                c,
                (c >= split) & (c < C),
                part,
                parts,
                images,
                H,
                W,
                C,
                7,
                D2,
                ROWS_7,
                COLS,
                BLOCK,
            )


@triton.jit(do_not_specialize=['C', 'low', 'split'])
def copy_table(
    table, w0, b0, w1, b1, w2, b2, C, low, split, TO_TABLE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
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
