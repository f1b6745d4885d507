"""The first convolution of a folded stem and its GELU: 3x3 with stride 2, as a matmul in 16 bits.

The input has so few channels that a patch, all 9 taps of all channels, is one short row of a matrix. A program computes
ROWS by COLS positions of the output. The input may have any strides; the output is channels-last.

Not timed on a GPU in this form.
"""

import triton
import triton.language as tl
from torch import Tensor

from .activations import gelu
from .autotune import TARGET_PROGRAMS, autotuned, ceil_div, launch, size_bucket
from .pointwise import dot
from .tiling import check_size

# Elements of a patch: 9 taps of up to 3 channels, padded to the size that tensor cores need.
DEPTH = 32
# Where there are more tiles, a program computes several and reads the weights once.
MAX_PROGRAMS = 4 * TARGET_PROGRAMS


@triton.jit
def _load_patches(x_ptr, y, x, H, W, stride_y, stride_x, stride_c, CHANNELS: tl.constexpr, DEPTH: tl.constexpr):
    """Return the patches of the outputs at (y, x), (positions, DEPTH), tap by tap; zeros outside the map."""
    k = tl.arange(0, DEPTH)
    tap = k // CHANNELS
    rows, columns = 2 * y[:, None] - 1 + (tap // 3)[None, :], 2 * x[:, None] - 1 + (tap % 3)[None, :]
    inside = (tap < 9)[None, :] & (rows >= 0) & (rows < H) & (columns >= 0) & (columns < W)
    offsets = x_ptr + rows * stride_y + columns * stride_x + (k % CHANNELS * stride_c)[None, :]
    return tl.load(offsets, mask=inside, other=0)


@autotuned(
    ('bucket', 'N', 'stride_c'),
    triton.Config({'ROWS': 8, 'COLS': 16}, num_warps=4, num_stages=1),
    triton.Config({'ROWS': 4, 'COLS': 16}, num_warps=4, num_stages=1),
    triton.Config({'ROWS': 4, 'COLS': 32}, num_warps=8, num_stages=1),
)
@triton.jit(do_not_specialize=['B', 'H', 'W', 'stride_b', 'stride_y', 'stride_x', 'stride_c', 'bucket'])
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
    bucket,
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
        patches = _load_patches(x_ptr + image * stride_b, y, x, H, W, stride_y, stride_x, stride_c, CHANNELS, DEPTH)
        out = gelu(dot(patches, w, tl.zeros((ROWS * COLS, BN), tl.float32)) + b, False)
        offsets = out_ptr + image * height * width * N + ((y * width + x) * N)[:, None] + n[None, :]
        valid = ((y < height) & (x < width))[:, None] & (n < N)[None, :]
        tl.store(offsets, out.to(out_ptr.dtype.element_ty), mask=valid)


def embed(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """Return GELU of the convolution of ``x`` with stride 2 and padding 1.

    Args:
        x: (B, C, H, W) with 1 to 3 channels, in bfloat16 or float16.
        w: Weight (N, C, 3, 3), of the same type.
        b: Bias (N).

    Returns:
        (B, N, ceil(H / 2), ceil(W / 2)), channels-last, of the type of ``x``.

    Raises:
        ValueError: An image has 2**31 elements or more.
    """
    batch, channels, height, width = x.shape
    check_size(height, width, max(channels, len(w) // 4 + 1))
    out = x.new_empty((batch, ceil_div(height, 2), ceil_div(width, 2), len(w)))
    b_stride, c_stride, y_stride, x_stride = x.stride()

    def grid(meta: dict[str, int]) -> tuple[int]:
        tiles = batch * ceil_div(out.shape[1], meta['ROWS']) * ceil_div(out.shape[2], meta['COLS'])
        return (min(tiles, MAX_PROGRAMS),)

    launch(
        _embed,
        grid,
        (x, w.permute(0, 2, 3, 1).contiguous(), b, out),
        (batch, height, width, len(w), b_stride, y_stride, x_stride, c_stride, size_bucket(x.numel(), width)),
        CHANNELS=channels,
        DEPTH=DEPTH,
        BN=max(16, triton.next_power_of_2(len(w))),
    )
    return out.permute(0, 3, 1, 2)
