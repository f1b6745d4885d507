"""Forward Triton kernels of the multi-order depthwise convolution (paper 4.3), on maps (B, H, W, C).

A strip has ROWS rows, D apart, and some columns, D apart: the positions that a kernel dilated by D connects. A program
walks along a strip and reads each column once, a column ahead of its use. It adds the products of the column to the
sums of the K columns of outputs that it reaches. Taps, sums and the column stay in registers; sums are float32.

The table of weights is float32 (TABLE_ROWS, C): 25 taps of the 5x5 convolution and its bias, then the 25 or 49 taps of
the channel's dilated convolution, and its bias.

The number of channels is a constant for the compiler, so that columns lie at fixed distances.

Not timed on a GPU in this form.
"""

import triton
import triton.language as tl

from .autotune import autotuned

# Rows of the table of weights: 25 taps and a bias, then up to 49 taps and a bias.
TABLE_ROWS = 76
# Rows of a strip or tile of the 5x5 and of the 7x7 convolutions. Maps of 56, 28 and 14 rows waste none of them, but for
# the 7x7 dilated by 3, which wastes one row in 20.
ROWS_5, ROWS_7 = tl.constexpr(7), tl.constexpr(5)


@triton.jit
def count_lines(H, D: tl.constexpr, ROWS: tl.constexpr):
    """Return the number of lines of strips in a map; the D rows between two rows of a strip belong to other lines."""
    return tl.cdiv(tl.cdiv(H, D), ROWS) * D


@triton.jit
def first_row(line, H, D: tl.constexpr, ROWS: tl.constexpr):
    """Return the first row of a line of strips."""
    down = tl.cdiv(tl.cdiv(H, D), ROWS)
    return line % down * (ROWS * D) + line // down


@triton.jit
def _read_column(
    at, x, y, exists, H, W, inside, C: tl.constexpr, D: tl.constexpr, COUNT: tl.constexpr, FULL: tl.constexpr
):
    """Return COUNT rows of column x, D apart, from row y, as vectors of channels.

    Values outside the map are zero, and all values if ``exists`` is false. FULL: all lanes have a channel.
    """
    exists = exists & (x >= 0) & (x < W)
    at += x * C
    column = ()
    for i in tl.static_range(COUNT):
        row = y + i * D
        mask = exists & (row >= 0) & (row < H)
        if not FULL:
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
    FULL: tl.constexpr,
):
    """Store ROWS sums, from FIRST on, in the rows of column x, D apart, from row y, if ``exists``."""
    at += x * C
    for i in tl.static_range(ROWS):
        row = y + i * D
        mask = exists & (row < H)
        if not FULL:
            mask = mask & inside
        tl.store(at + row * W * C, sums[FIRST + i].to(at.dtype.element_ty), mask=mask)


@triton.jit
def _taps(table, c, inside, flip, C: tl.constexpr, K: tl.constexpr):
    """Return the taps of a K x K kernel, row by row; flip: in reverse, for the transposed convolution."""
    taps = ()
    for i in tl.static_range(K * K):
        taps += (tl.load(table + (i + flip * (K * K - 1 - 2 * i)) * C + c, mask=inside, other=0.0),)
    return taps


@triton.jit
def _add_column(sums, start, column, taps, K: tl.constexpr, ROWS: tl.constexpr):
    """Add a column of inputs to the sums of the K columns of outputs that it reaches, the last of which starts here."""
    PAD: tl.constexpr = (len(column) - ROWS) // 2  # rows read above and below the rows of the outputs
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
def _repeated(vector, COUNT: tl.constexpr):
    """Return a tuple with COUNT times the vector."""
    repeated = ()
    for _ in tl.static_range(COUNT):
        repeated += (vector,)
    return repeated


@triton.jit
def _convolve_strips(
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
    SINGLE_STRIP: tl.constexpr,
    IMAGES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Convolve the strips of a program, each of ``length`` columns, for a block of the channels START to END.

    Channels below LOW are stored in ``dst_low``, others in ``dst``. flip: convolve with the transposed kernel, without
    bias. SINGLE_STRIP: a strip holds all rows that are D apart, so that no row above or below it exists. The BLOCK
    lanes of a program are divided among IMAGES images.
    """
    ROWS: tl.constexpr = ROWS_5 if K == 5 else ROWS_7
    RADIUS: tl.constexpr = K // 2
    PAD: tl.constexpr = 0 if SINGLE_STRIP else RADIUS
    COUNT: tl.constexpr = ROWS + 2 * PAD
    GROUP: tl.constexpr = BLOCK // IMAGES
    FULL: tl.constexpr = IMAGES == 1 and (END - START) % BLOCK == 0
    lane = tl.arange(0, BLOCK)
    c, image_of_lane = START + block * GROUP + lane % GROUP, lane // GROUP
    inside = c < END
    taps = _taps(table, c, inside, flip, C, K)
    start = tl.load(table + K * K * C + c, mask=inside & (flip == 0), other=0.0)
    lines, across = count_lines(H, D, ROWS), tl.cdiv(tl.cdiv(W, D), length) * D
    for strip in range(tl.program_id(0), tl.cdiv(images, IMAGES) * lines * across, tl.num_programs(0)):
        x = strip % across // D * length * D + strip % D
        y = first_row(strip // across % lines, H, D, ROWS)
        top = y - PAD * D
        image = strip // across // lines * IMAGES + image_of_lane
        offset = image.to(tl.int64) * H * W * C + c
        valid = inside & (image < images)
        out_ptr = tl.where(c < LOW, dst_low + offset, dst + offset) if LOW else dst + offset
        sums = _repeated(start, ROWS * (K - 1))
        # Input columns that exist and reach an output of the strip. Columns beyond the map add nothing.
        first, end = tl.maximum(x - RADIUS * D, strip % D), tl.minimum(x + length * D, W)
        stop = tl.minimum(end + RADIUS * D, W)
        ahead = _read_column(src + offset, first, top, first < stop, H, W, valid, C, D, COUNT, FULL)
        for current in range(first, stop, D):
            column = ()
            for i in tl.static_range(COUNT):
                column += (ahead[i].to(tl.float32),)
            ahead = _read_column(src + offset, current + D, top, current + D < stop, H, W, valid, C, D, COUNT, FULL)
            added = _add_column(sums, start, column, taps, K, ROWS)
            done = current - RADIUS * D
            _write_column(out_ptr, added, 0, done, y, done >= x, H, W, valid, C, D, ROWS, FULL)
            sums = ()
            for i in tl.static_range(ROWS * (K - 1)):
                sums += (added[ROWS + i],)
        done = first + (tl.cdiv(stop - first, D) - RADIUS) * D
        for i in tl.static_range(RADIUS):
            _write_column(out_ptr, sums, i * ROWS, done, y, (done >= x) & (done < end), H, W, valid, C, D, ROWS, FULL)
            done += D


@autotuned(
    ('bucket', 'C', 'SINGLE_STRIP', 'IMAGES'),
    triton.Config({'BLOCK': 64}, num_warps=1, num_stages=1),
    triton.Config({'BLOCK': 64}, num_warps=1, num_stages=1, maxnreg=168),
)
@triton.jit(do_not_specialize=['H', 'W', 'images', 'length', 'bucket', 'flip'])
def convolve(
    src,
    dst_low,
    dst,
    table,
    H,
    W,
    images,
    length,
    bucket,
    flip,
    C: tl.constexpr,
    LOW: tl.constexpr,
    D: tl.constexpr,
    SINGLE_STRIP: tl.constexpr,
    IMAGES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute the 5x5 convolution of all channels; the first LOW are stored in ``dst_low``, the others in ``dst``."""
    _convolve_strips(
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
        SINGLE_STRIP,
        IMAGES,
        BLOCK,
    )


@autotuned(
    ('bucket', 'C', 'SINGLE_5', 'SINGLE_7', 'IMAGES'),
    # This limit of registers leaves room for one more program.
    triton.Config({'BLOCK': 64}, num_warps=1, num_stages=1, maxnreg=224),
)
@triton.jit(do_not_specialize=['H', 'W', 'images', 'length_5', 'length_7', 'bucket', 'flip'])
def convolve_dilated(
    src,
    dst,
    table,
    H,
    W,
    images,
    length_5,
    length_7,
    bucket,
    flip,
    C: tl.constexpr,
    LOW: tl.constexpr,
    SPLIT: tl.constexpr,
    D1: tl.constexpr,
    D2: tl.constexpr,
    SINGLE_5: tl.constexpr,
    SINGLE_7: tl.constexpr,
    IMAGES: tl.constexpr,
    BLOCK: tl.constexpr,
):
    """Compute the 5x5 convolution dilated by D1 of channels LOW to SPLIT, and the 7x7 dilated by D2 of the others."""
    table += 26 * C
    block, high = tl.program_id(1), tl.cdiv(C - SPLIT, BLOCK // IMAGES)
    if block < high:  # the longest programs start first
        _convolve_strips(
            src, dst, dst, table, block, images, length_7, flip, H, W, C, SPLIT, 0, C, 7, D2, SINGLE_7, IMAGES, BLOCK
        )
    else:
        _convolve_strips(
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
            SINGLE_5,
            IMAGES,
            BLOCK,
        )


@triton.jit(do_not_specialize=['C', 'low', 'split'])
def copy_table(
    table, w0, b0, w1, b1, w2, b2, C, low, split, TO_TABLE: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr
):
    """Copy weights (channels, 1, k, k) and biases into the table (TO_TABLE), or from the table."""
    row = (tl.program_id(0) * ROWS + tl.arange(0, ROWS))[:, None]
    c = (tl.program_id(1) * BLOCK + tl.arange(0, BLOCK))[None, :]
    at = table + row * C + c
    _copy_entries(at, w0 + c * 25 + row, (row < 25) & (c < C), TO_TABLE)
    _copy_entries(at, b0 + c + 0 * row, (row == 25) & (c < C), TO_TABLE)
    tap = row - 26
    middle, high = (tap >= 0) & (c >= low) & (c < split), (tap >= 0) & (c >= split) & (c < C)
    _copy_entries(at, w1 + (c - low) * 25 + tap, middle & (tap < 25), TO_TABLE)
    _copy_entries(at, b1 + (c - low) + 0 * row, middle & (tap == 25), TO_TABLE)
    _copy_entries(at, w2 + (c - split) * 49 + tap, high & (tap < 49), TO_TABLE)
    _copy_entries(at, b2 + (c - split) + 0 * row, high & (tap == 49), TO_TABLE)


@triton.jit
def _copy_entries(table, weights, mask, TO_TABLE: tl.constexpr):
    """Copy the entries of a table to or from the elements of one weight."""
    if TO_TABLE:
        tl.store(table, tl.load(weights, mask=mask).to(tl.float32), mask=mask)
    else:
        tl.store(weights, tl.load(table, mask=mask).to(weights.dtype.element_ty), mask=mask)
