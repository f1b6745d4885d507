"""The first convolution of a folded stem with its GELU on a GPU: 3x3, of stride 2, as a product of 16 bits.

Its input has so few channels that all 9 taps of all of them are one short line of a matrix: a program has the lines of
ROWS by COLS positions of the output. The input may lie in memory as it likes; the output is in channels-last.
"""

import triton
import triton.language as tl
from torch import Tensor

from .activations import gelu
from .autotune import PROGRAMS, ceil_div, kind, launch, tuned
from .pointwise import dot
from .tiling import check_size

# Numbers of a line: 9 taps of up to 3 channels, filled up to what tensor cores take.
DEPTH = 32
# Of more tiles, each program has several, for which it reads the weights once.
MOST_PROGRAMS = 4 * PROGRAMS


@triton.jit
def _lines(x_ptr, y, x, H, W, stride_y, stride_x, stride_c, CHANNELS: tl.constexpr, DEPTH: tl.constexpr):
    """What the outputs at (y, x) see, (positions, DEPTH): tap by tap, zeros outside the map."""
    k = tl.arange(0, DEPTH)
    tap = k // CHANNELS
    rows, columns = 2 * y[:, None] - 1 + (tap // 3)[None, :], 2 * x[:, None] - 1 + (tap % 3)[None, :]
    inside = (tap < 9)[None, :] & (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
    at = x_ptr + rows * stride_y + columns * stride_x + (k % CHANNELS * stride_c)[None, :]
    return tl.load(at, mask=inside, other=0)


@tuned(
    ('tuned_for', 'N', 'stride_c'),
    triton.Config({'ROWS': 8, 'COLS': 16}, num_warps=4, num_stages=1),
    triton.Config({'ROWS': 4, 'COLS': 16}, num_warps=4, num_stages=1),
    triton.Config({'ROWS': 4, 'COLS': 32}, num_warps=8, num_stages=1),
)
@triton.jit(do_not_specialize=['B', 'H', 'W', 'stride_b', 'stride_y', 'stride_x', 'stride_c', 'tuned_for'])
def _embed(
    x_ptr,
    w_ptr,
    b_ptr,
    out_ptr,
    B,
    H,
    W,
    N,
    stride_b,
    stride_y,
    stride_x,
    stride_c,
    tuned_for,
    CHANNELS: tl.constexpr,
    DEPTH: tl.constexpr,
    BN: tl.constexpr,
    ROWS: tl.constexpr,
    COLS: tl.constexpr,
):
    n, k, position = tl.arange(0, BN), tl.arange(0, DEPTH), tl.arange(0, ROWS * COLS)
    inside = (n < N)[:, None] & (k < 9 * CHANNELS)[None, :]
    w = tl.load(w_ptr + n[:, None] * (9 * CHANNELS) + k[None, :], mask=inside, other=0)
    b = tl.load(b_ptr + n, mask=n < N, other=0).to(tl.float32)[None, :]
    height, width = tl.cdiv(H, 2), tl.cdiv(W, 2)
    down, across = tl.cdiv(height, ROWS), tl.cdiv(width, COLS)
    for tile in range(tl.program_id(0), B * down * across, tl.num_programs(0)):
        y = tile // across % down * ROWS + position // COLS
        x = tile % across * COLS + position % COLS
        image = (tile // across // down).to(tl.int64)
        lines = _lines(x_ptr + image * stride_b, y, x, H, W, stride_y, stride_x, stride_c, CHANNELS, DEPTH)
        out = gelu(dot(lines, w, tl.zeros((ROWS * COLS, BN), tl.float32)) + b, False)
        at = out_ptr + image * height * width * N + ((y * width + x) * N)[:, None] + n[None, :]
        there = ((y < height) & (x < width))[:, None] & (n < N)[None, :]
        tl.store(at, out.to(out_ptr.dtype.element_ty), mask=there)


def embed(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """GELU of the convolution of ``x`` with stride 2 and padding 1.

    Args:
        x: (B, C, H, W) in bfloat16 or float16, C of 1 to 3.
        w: (N, C, 3, 3) of the same type.
        b: (N,).

    Returns:
        (B, N, ceil(H / 2), ceil(W / 2)) in channels-last.

    Raises:
        ValueError: an image of 2**31 elements or more.
    """
    batch, channels, height, width = x.shape
    check_size(height, width, max(channels, len(w) // 4 + 1))
    out = x.new_empty((batch, ceil_div(height, 2), ceil_div(width, 2), len(w)))
    b_stride, c_stride, y_stride, x_stride = x.stride()

    def grid(meta: dict) -> tuple[int]:
        tiles = batch * ceil_div(out.shape[1], meta['ROWS']) * ceil_div(out.shape[2], meta['COLS'])
        return (min(tiles, MOST_PROGRAMS),)

    launch(
        _embed,
        grid,
        (x, w.permute(0, 2, 3, 1).contiguous(), b, out),
        (batch, height, width, len(w), b_stride, y_stride, x_stride, c_stride, kind(x.numel(), width)),
        CHANNELS=channels,
        DEPTH=DEPTH,
        BN=max(16, triton.next_power_of_2(len(w))),
    )
    return out.permute(0, 3, 1, 2)
