"""The end of a channel half on a GPU: Eq. 10's one channel, which the last product brings along, and the residual.

That product has ``PAD`` columns more than the map has channels. The first of them is what the context is the GELU of;
the others are zero, so that rows begin where a GPU reads them fastest. Its gradient has the same columns.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .autotune import ceil_div, launch
from .tiling import CHANNELS, POSITIONS, WARPS, longest, place, shares, vector

PAD = 8
# Elements of rows that a program has at once where it needs rows as a whole.
TILE = 4096


def extended(w2: Tensor, b2: Tensor, w_context: Tensor, b_context: Tensor) -> tuple[Tensor, Tensor]:
    """Weight (C, hidden) and bias (C,) of the last product with those of the context, and zeros: of C + PAD columns."""
    rest = w2.new_zeros((PAD - 1, w2.shape[1]))
    return torch.cat((w2, w_context.view(1, -1), rest)), torch.cat((b2, b_context, rest[:, 0]))


@triton.jit
def _half(x):
    """What GELU multiplies by: the normal distribution up to x."""
    return 0.5 * (1 + tl.erf(x * 0.7071067811865476))


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
    image, channels, first, _ = place(N, C, P, BC)
    positions = first + tl.arange(0, P)
    start = image.to(tl.int64) * N
    at = start * C + positions[:, None] * C + channels[None, :]
    wide = t_ptr + start * (C + PAD) + positions * (C + PAD)
    inside = (positions < N)[:, None] & (channels < C)[None, :]
    x = tl.load(x_ptr + at, mask=inside).to(tl.float32)
    t = tl.load(wide[:, None] + channels[None, :], mask=inside).to(tl.float32)
    context = tl.load(wide + C, mask=positions < N).to(tl.float32)
    if factor_ptr is not None:
        t *= vector(factor_ptr, channels, C)
    t -= (context * _half(context))[:, None] * vector(s_ptr, channels, C)
    if mask_ptr is not None:
        t *= tl.load(mask_ptr + image).to(tl.float32)
    tl.store(out_ptr + at, (x + t).to(out_ptr.dtype.element_ty), mask=inside)
    if context_ptr is not None:
        tl.store(context_ptr + start + positions, context, mask=(positions < N) & (tl.min(channels, 0) == 0))


def add_channel(
    x: Tensor, t: Tensor, s: Tensor, factor: Tensor | None, mask: Tensor | None, dtype: torch.dtype, keep: bool
) -> tuple[Tensor, Tensor | None]:
    """x + mask * (factor * t - s * GELU(context)) of type ``dtype``, and, to ``keep``, the context before GELU.

    Args:
        x: (B, H, W, C).
        t: (B * H * W, C + PAD), of which column C is what the context is the GELU of.
        s, factor: (C,), the factor of t alone.
        mask: One number per image, or None.
    """
    out, share = torch.empty_like(x, dtype=dtype), shares(x.shape)
    context = x.new_empty(len(t), dtype=torch.float32) if keep else None
    launch(
        _add_channel,
        share.grid,
        (x, t, s, factor, mask, out, context),
        share.sizes,
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
    """A program has whole rows: the context's gradient is a sum over channels."""
    image, channels, first, part = place(N, C, length, BC)
    s = vector(s_ptr, channels, C)
    factor = 1.0
    if mask_ptr is not None:
        factor = tl.load(mask_ptr + image).to(tl.float32)
    start = image.to(tl.int64) * N
    plain = tl.zeros((P, BC), tl.float32)
    by_context = tl.zeros((P, BC), tl.float32)
    dc_sum = tl.zeros((P,), tl.float32)
    pad = tl.arange(0, PAD)
    for i in range(0, length, P):
        positions = first + i + tl.arange(0, P)
        here = (positions < N) & (positions < first + length)
        inside = here[:, None] & (channels < C)[None, :]
        at = start * C + positions[:, None] * C + channels[None, :]
        dt = factor * tl.load(d_ptr + at, mask=inside, other=0).to(tl.float32)
        c = tl.load(context_ptr + start + positions, mask=here, other=0)
        share = _half(c)
        slope = share + c * 0.3989422804014327 * tl.exp(-0.5 * c * c)
        dc = -tl.sum(dt * s, 1) * slope
        wide = dt_ptr + (start + positions[:, None]) * (C + PAD)
        tl.store(wide + channels[None, :], dt.to(dt_ptr.dtype.element_ty), mask=inside)
        rest = tl.where((pad == 0)[None, :], dc[:, None], 0)
        tl.store(wide + C + pad[None, :], rest.to(dt_ptr.dtype.element_ty), mask=here[:, None] & (pad < PAD)[None, :])
        plain += dt
        by_context += dt * (c * share)[:, None]
        dc_sum += dc
    to, kept = sums_ptr + part.to(tl.int64) * (2 * C + 1) + channels, channels < C
    tl.store(to, tl.sum(plain, 0), mask=kept)
    tl.store(to + C, tl.sum(by_context, 0), mask=kept)
    tl.store(sums_ptr + part.to(tl.int64) * (2 * C + 1) + 2 * C, tl.sum(dc_sum, 0))


def context_backward(
    d: Tensor, context: Tensor, s: Tensor, mask: Tensor | None, dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """From the gradient of ``add_channel``, that of t, the factor being part of t, (B * H * W, C + PAD) of ``dtype``;
    and its sums over positions: plain (C), times GELU(context) (C), and of the context's column (1).
    """
    batch, height, width, channels = d.shape
    positions, block = height * width, 1 << (channels - 1).bit_length()
    rows = max(1, TILE // block)
    length = longest(rows, positions, batch)
    parts = batch * ceil_div(positions, length)
    dt = d.new_empty((batch * positions, channels + PAD), dtype=dtype)
    sums = d.new_empty((parts, 2 * channels + 1), dtype=torch.float32)
    launch(
        _context_backward,
        (parts,),
        (d, context, s, mask, dt, sums),
        (positions, channels, length),
        PAD=PAD,
        P=rows,
        BC=block,
        num_warps=WARPS,
    )
    return dt, *sums.sum(0).split((channels, channels, 1))
