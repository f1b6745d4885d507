"""The end of the channel branch: the shared channel of paper Eq. 10, called the context, and the residual.

The matmul of ``fc2`` also computes the context. Its output has ``PAD`` more columns than the map has channels. The
first of them is the context before GELU. The others are zero and align the rows for fast reads. The gradient of the
output has the same columns.

Not timed on a GPU in this form: the backward kernels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .activations import normal_cdf
from .autotune import ceil_div, launch
from .tiling import CHANNELS, POSITIONS, WARPS, chunk_length, load_channels, locate, tiling_of

PAD = 8
# Elements of a tile of whole rows.
TILE_ELEMENTS = 4096


def extended(w2: Tensor, b2: Tensor, w_context: Tensor, b_context: Tensor) -> tuple[Tensor, Tensor]:
    """Append the rows of the context, and zeros, to the weight and the bias of ``fc2``.

    Args:
        w2: Weight (C, hidden).
        b2: Bias (C).
        w_context: Weight of ``decompose`` (hidden).
        b_context: Bias of ``decompose`` (1).

    Returns:
        Weight (C + PAD, hidden) and bias (C + PAD).
    """
    padding = w2.new_zeros((PAD - 1, w2.shape[1]))
    return torch.cat((w2, w_context.view(1, -1), padding)), torch.cat((b2, b_context, padding[:, 0]))


@triton.jit(do_not_specialize=['N'])
def _add_channel(
    x_ptr,
    t_ptr,
    s_ptr,
    factor_ptr,
    mask_ptr,
    out_ptr,
    context_ptr,
    N,
    C,
    PAD: tl.constexpr,
    P: tl.constexpr,
    BC: tl.constexpr,
):
    image, channels, first, _ = locate(N, C, P, BC)
    positions = first + tl.arange(0, P)
    start = image.to(tl.int64) * N
    offsets = start * C + positions[:, None] * C + channels[None, :]
    t_row = t_ptr + start * (C + PAD) + positions * (C + PAD)
    inside = (positions < N)[:, None] & (channels < C)[None, :]
    x = tl.load(x_ptr + offsets, mask=inside).to(tl.float32)
    t = tl.load(t_row[:, None] + channels[None, :], mask=inside).to(tl.float32)
    context = tl.load(t_row + C, mask=positions < N).to(tl.float32)
    if factor_ptr is not None:
        t *= load_channels(factor_ptr, channels, C)
    t -= (context * normal_cdf(context))[:, None] * load_channels(s_ptr, channels, C)
    if mask_ptr is not None:
        t *= tl.load(mask_ptr + image).to(tl.float32)
    tl.store(out_ptr + offsets, (x + t).to(out_ptr.dtype.element_ty), mask=inside)
    if context_ptr is not None:
        tl.store(context_ptr + start + positions, context, mask=(positions < N) & (tl.min(channels, 0) == 0))


def add_channel(
    x: Tensor, t: Tensor, s: Tensor, factor: Tensor | None, mask: Tensor | None, dtype: torch.dtype, save_context: bool
) -> tuple[Tensor, Tensor | None]:
    """Return x + mask * (factor * t - s * GELU(context)).

    Args:
        x: The residual (B, H, W, C).
        t: Output of ``fc2`` (B * H * W, C + PAD); column C is the context before GELU.
        s: Factors of the context (C).
        factor: Factors of ``t`` (C), or None for 1.
        mask: Factors of stochastic depth, B elements, or None for 1.
        dtype: Type of the result.
        save_context: Return the context, too.

    Returns:
        The result (B, H, W, C), and the context before GELU (B * H * W) in float32, or None.
    """
    out, tiling = torch.empty_like(x, dtype=dtype), tiling_of(x.shape)
    context = x.new_empty(len(t), dtype=torch.float32) if save_context else None
    launch(
        _add_channel,
        tiling.grid,
        (x, t, s, factor, mask, out, context),
        tiling.sizes,
        PAD=PAD,
        P=POSITIONS,
        BC=CHANNELS,
        num_warps=WARPS,
    )
    return out, context


@triton.jit(do_not_specialize=['N', 'length'])
def _context_backward(
    d_ptr,
    context_ptr,
    s_ptr,
    mask_ptr,
    dt_ptr,
    sums_ptr,
    N,
    C,
    length,
    PAD: tl.constexpr,
    P: tl.constexpr,
    BC: tl.constexpr,
):
    """Compute whole rows per program, since the gradient of the context is a sum over channels."""
    image, channels, first, chunk = locate(N, C, length, BC)
    s = load_channels(s_ptr, channels, C)
    factor = 1.0
    if mask_ptr is not None:
        factor = tl.load(mask_ptr + image).to(tl.float32)
    start = image.to(tl.int64) * N
    plain = tl.zeros((P, BC), tl.float32)
    times_context = tl.zeros((P, BC), tl.float32)
    dc_total = tl.zeros((P,), tl.float32)
    pad = tl.arange(0, PAD)
    for i in range(0, length, P):
        positions = first + i + tl.arange(0, P)
        in_chunk = (positions < N) & (positions < first + length)
        inside = in_chunk[:, None] & (channels < C)[None, :]
        offsets = start * C + positions[:, None] * C + channels[None, :]
        dt = factor * tl.load(d_ptr + offsets, mask=inside, other=0).to(tl.float32)
        c = tl.load(context_ptr + start + positions, mask=in_chunk, other=0)
        cdf = normal_cdf(c)
        derivative = cdf + c * 0.3989422804014327 * tl.exp(-0.5 * c * c)
        dc = -tl.sum(dt * s, 1) * derivative
        t_row = dt_ptr + (start + positions[:, None]) * (C + PAD)
        tl.store(t_row + channels[None, :], dt.to(dt_ptr.dtype.element_ty), mask=inside)
        padding = tl.where((pad == 0)[None, :], dc[:, None], 0)
        tl.store(
            t_row + C + pad[None, :], padding.to(dt_ptr.dtype.element_ty), mask=in_chunk[:, None] & (pad < PAD)[None, :]
        )
        plain += dt
        times_context += dt * (c * cdf)[:, None]
        dc_total += dc
    sums_row, exists = sums_ptr + chunk.to(tl.int64) * (2 * C + 1) + channels, channels < C
    tl.store(sums_row, tl.sum(plain, 0), mask=exists)
    tl.store(sums_row + C, tl.sum(times_context, 0), mask=exists)
    tl.store(sums_ptr + chunk.to(tl.int64) * (2 * C + 1) + 2 * C, tl.sum(dc_total, 0))


def context_backward(
    d: Tensor, context: Tensor, s: Tensor, mask: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the gradient of ``factor * t`` in ``add_channel``, context included, and its sums over all positions.

    Args:
        d: Gradient of the output (B, H, W, C).
        context: The context before GELU (B * H * W) in float32.
        s: Factors of the context (C).
        mask: Factors of stochastic depth, B elements, or None for 1.
        dtype: Type of the gradient.

    Returns:
        The gradient (B * H * W, C + PAD). Sums in float32: of its first C columns (C), of these times GELU(context)
        (C), and of the context's column (1).
    """
    batch, height, width, channels = d.shape
    positions, block = height * width, 1 << (channels - 1).bit_length()
    rows = max(1, TILE_ELEMENTS // block)
    length = chunk_length(rows, positions, batch)
    chunks = batch * ceil_div(positions, length)
    dt = d.new_empty((batch * positions, channels + PAD), dtype=dtype)
    sums = d.new_empty((chunks, 2 * channels + 1), dtype=torch.float32)
    launch(
        _context_backward,
        (chunks,),
        (d, context, s, mask, dt, sums),
        (positions, channels, length),
        PAD=PAD,
        P=rows,
        BC=block,
        num_warps=WARPS,
    )
    return dt, *sums.sum(0).split((channels, channels, 1))
