"""The wide part of the channel half in one pass: a = GELU(3x3 depthwise of h), and c, the one channel of Eq. 10.

A program has a strip of ``TW`` columns and ``BC`` channels, and walks down its rows. Forward, each row that it reads
adds to three rows of the result, of which one is complete, so that an element is read three times and not nine. What a
program can only know in part (c, sums over positions) goes to buffers of float32, which are summed in a fixed order.
The backward pass computes a again, so that h alone is kept.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .tuning import PROGRAMS, kind, tuned

# Channels per program where c is summed: their number decides the size of its buffer.
BLOCK = 64
STRIP = 8
# Of the weight (9), of the bias and of w_context: sums over positions.
SUMS = 11


@triton.jit
def _row(x_ptr, y, cols, channels, H, W, C):
    """Row ``y`` of an image (H, W, C) as the three columns of the kernel see it, in float32. Zero outside."""
    at = x_ptr + (y * W + cols[:, None]) * C + channels[None, :]
    inside = (channels < C)[None, :] & (y >= 0) & (y < H)
    left = tl.load(at - C, mask=inside & ((cols > 0) & (cols <= W))[:, None], other=0)
    middle = tl.load(at, mask=inside & (cols < W)[:, None], other=0)
    right = tl.load(at + C, mask=inside & (cols < W - 1)[:, None], other=0)
    return left.to(tl.float32), middle.to(tl.float32), right.to(tl.float32)


@triton.jit
def _vector(x_ptr, channels, C, stride, at):
    x = tl.load(x_ptr + channels * stride + at, mask=channels < C, other=0)
    return x.to(tl.float32)[None, :]


@triton.jit
def _taps(w_ptr, channels, C, FLIP: tl.constexpr):
    """The weight (C, 1, 3, 3), row by row; from its end for the transposed convolution."""
    first: tl.constexpr = 8 if FLIP else 0
    step: tl.constexpr = -1 if FLIP else 1
    return (
        _vector(w_ptr, channels, C, 9, first), _vector(w_ptr, channels, C, 9, first + step),
        _vector(w_ptr, channels, C, 9, first + 2 * step), _vector(w_ptr, channels, C, 9, first + 3 * step),
        _vector(w_ptr, channels, C, 9, first + 4 * step), _vector(w_ptr, channels, C, 9, first + 5 * step),
        _vector(w_ptr, channels, C, 9, first + 6 * step), _vector(w_ptr, channels, C, 9, first + 7 * step),
        _vector(w_ptr, channels, C, 9, first + 8 * step),
    )  # fmt: skip


@tuned(
    ('tuned_for', 'C'),
    triton.Config({'TW': 8, 'ROWS': 16, 'STAGES': 1}, num_warps=4),
    triton.Config({'TW': 8, 'ROWS': 16, 'STAGES': 3}, num_warps=4),
    triton.Config({'TW': 8, 'ROWS': 8, 'STAGES': 1}, num_warps=2),
    triton.Config({'TW': 8, 'ROWS': 32, 'STAGES': 3}, num_warps=2),
    triton.Config({'TW': 16, 'ROWS': 16, 'STAGES': 1}, num_warps=4),
    triton.Config({'TW': 16, 'ROWS': 32, 'STAGES': 3}, num_warps=8),
)
@triton.jit(do_not_specialize=['H', 'W', 'positions', 'tuned_for'])
def _convolve(
    x_ptr, w_ptr, b_ptr, w_context_ptr, out_ptr, context_ptr, H, W, C, positions, tuned_for,
    BC: tl.constexpr, TW: tl.constexpr, ROWS: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    """The forward pass; or, without ``context_ptr``, the transposed convolution and no more."""
    FORWARD: tl.constexpr = context_ptr is not None
    blocks, strips, bands = tl.cdiv(C, BC), tl.cdiv(W, TW), tl.cdiv(H, ROWS)
    program = tl.program_id(0)
    block, part = program % blocks, program // blocks
    channels = block * BC + tl.arange(0, BC)
    cols = part % strips * TW + tl.arange(0, TW)
    first = part // strips % bands * ROWS
    image = (part // strips // bands).to(tl.int64)
    x_ptr += image * H * W * C
    out_ptr += image * H * W * C
    w00, w01, w02, w10, w11, w12, w20, w21, w22 = _taps(w_ptr, channels, C, not FORWARD)
    inside = (cols < W)[:, None] & (channels < C)[None, :]
    start = tl.zeros((TW, BC), tl.float32)
    if FORWARD:
        start += _vector(b_ptr, channels, C, 1, 0)
        w_context = _vector(w_context_ptr, channels, C, 1, 0)
        context_ptr += block * positions.to(tl.int64) + image * H * W
    here, below = start, start
    for y in tl.range(first - 1, tl.minimum(first + ROWS, H) + 1, num_stages=STAGES):
        left, middle, right = _row(x_ptr, y, cols, channels, H, W, C)
        done = here + w20 * left + w21 * middle + w22 * right
        here = below + w10 * left + w11 * middle + w12 * right
        below = start + w00 * left + w01 * middle + w02 * right
        if y > first:
            if FORWARD:
                done = 0.5 * done * (1 + tl.erf(done * 0.7071067811865476))
                tl.store(context_ptr + (y - 1) * W + cols, tl.sum(done * w_context, 1), mask=cols < W)
            at = out_ptr + ((y - 1) * W + cols[:, None]) * C + channels[None, :]
            tl.store(at, done.to(out_ptr.dtype.element_ty), mask=inside)


@tuned(
    ('tuned_for', 'C'),
    triton.Config({'BC': 64}, num_warps=8),
    triton.Config({'BC': 64}, num_warps=4),
    triton.Config({'BC': 32}, num_warps=4),
    triton.Config({'BC': 32}, num_warps=2),
    triton.Config({'BC': 128}, num_warps=8),
)
@triton.jit(do_not_specialize=['B', 'H', 'W', 'rows', 'images', 'tuned_for'])
def _backward(
    h_ptr, da_ptr, dc_ptr, w_ptr, b_ptr, w_context_ptr, dpre_ptr, sums_ptr, B, H, W, C, rows, images, tuned_for,
    TW: tl.constexpr, SUMS: tl.constexpr, BC: tl.constexpr,
):  # fmt: skip
    """The gradient before GELU, and all sums over positions, of ``rows`` rows of ``images`` images per program."""
    blocks, strips, bands = tl.cdiv(C, BC), tl.cdiv(W, TW), tl.cdiv(H, rows)
    program = tl.program_id(0)
    part = program // blocks
    channels = program % blocks * BC + tl.arange(0, BC)
    cols = part % strips * TW + tl.arange(0, TW)
    first = part // strips % bands * rows
    first_image = part // strips // bands * images
    inside = (cols < W)[:, None] & (channels < C)[None, :]
    w00, w01, w02, w10, w11, w12, w20, w21, w22 = _taps(w_ptr, channels, C, False)
    b, w_context = _vector(b_ptr, channels, C, 1, 0), _vector(w_context_ptr, channels, C, 1, 0)
    zero = tl.zeros((TW, BC), tl.float32)
    s00, s01, s02, s10, s11, s12, s20, s21, s22, s_b, s_context = (zero, zero, zero, zero, zero, zero, zero, zero, zero,
                                                                   zero, zero)  # fmt: skip
    for i in range(tl.minimum(images, B - first_image)):
        start = (first_image + i).to(tl.int64) * H * W
        h = h_ptr + start * C
        u0, u1, u2 = _row(h, first - 1, cols, channels, H, W, C)
        m0, m1, m2 = _row(h, first, cols, channels, H, W, C)
        for y in range(first, tl.minimum(first + rows, H)):
            l0, l1, l2 = _row(h, y + 1, cols, channels, H, W, C)
            at = (y * W + cols[:, None]) * C + channels[None, :]
            da = tl.load(da_ptr + start * C + at, mask=inside, other=0).to(tl.float32)
            dc = tl.load(dc_ptr + start + y * W + cols, mask=cols < W, other=0).to(tl.float32)[:, None]
            pre = (b + w00 * u0 + w01 * u1 + w02 * u2 + w10 * m0 + w11 * m1 + w12 * m2 + w20 * l0 + w21 * l1
                   + w22 * l2)  # fmt: skip
            share = 0.5 * (1 + tl.erf(pre * 0.7071067811865476))
            density = 0.3989422804014327 * tl.exp(-0.5 * pre * pre)
            dpre = (da + dc * w_context) * (share + pre * density)
            tl.store(dpre_ptr + start * C + at, dpre.to(dpre_ptr.dtype.element_ty), mask=inside)
            s00, s01, s02 = s00 + dpre * u0, s01 + dpre * u1, s02 + dpre * u2
            s10, s11, s12 = s10 + dpre * m0, s11 + dpre * m1, s12 + dpre * m2
            s20, s21, s22 = s20 + dpre * l0, s21 + dpre * l1, s22 + dpre * l2
            s_b, s_context = s_b + dpre, s_context + dc * pre * share
            u0, u1, u2, m0, m1, m2 = m0, m1, m2, l0, l1, l2
    to, kept = sums_ptr + part.to(tl.int64) * SUMS * C + channels, channels < C
    tl.store(to, tl.sum(s00, 0), mask=kept)
    tl.store(to + C, tl.sum(s01, 0), mask=kept)
    tl.store(to + 2 * C, tl.sum(s02, 0), mask=kept)
    tl.store(to + 3 * C, tl.sum(s10, 0), mask=kept)
    tl.store(to + 4 * C, tl.sum(s11, 0), mask=kept)
    tl.store(to + 5 * C, tl.sum(s12, 0), mask=kept)
    tl.store(to + 6 * C, tl.sum(s20, 0), mask=kept)
    tl.store(to + 7 * C, tl.sum(s21, 0), mask=kept)
    tl.store(to + 8 * C, tl.sum(s22, 0), mask=kept)
    tl.store(to + 9 * C, tl.sum(s_b, 0), mask=kept)
    tl.store(to + 10 * C, tl.sum(s_context, 0), mask=kept)


def dwconv_gelu_decompose(
    h: Tensor, w: Tensor, b: Tensor, w_context: Tensor, b_context: Tensor
) -> tuple[Tensor, Tensor]:
    """GELU(depthwise 3x3 of ``h``), and the one channel that ``decompose`` makes of it, before its own GELU.

    Of the maps, ``h`` alone is kept for the backward pass. Weights may be of another type than maps.

    Args:
        h: (B, C, H, W), computed in channels-last.
        w, b: (C, 1, 3, 3) and (C,), of the depthwise convolution.
        w_context, b_context: (1, C, 1, 1) and (1,), of ``decompose``.

    Returns:
        (B, C, H, W) in channels-last and (B, 1, H, W), both of the type of ``h``.
    """
    return _aggregate(h, w, b, w_context, b_context)


@torch.library.custom_op('moganet::dwconv_gelu_decompose', mutates_args=())
def _aggregate(h: Tensor, w: Tensor, b: Tensor, w_context: Tensor, b_context: Tensor) -> tuple[Tensor, Tensor]:
    h = h.contiguous(memory_format=torch.channels_last)
    a = torch.empty_like(h)
    batch, channels, height, width = h.shape
    positions = batch * height * width
    parts = h.new_empty((triton.cdiv(channels, BLOCK), positions), dtype=torch.float32)
    _launch_convolution(h, w, b, w_context, a, parts)
    c = parts.sum(0).add_(b_context).to(h.dtype)
    return a, c.view(batch, 1, height, width)


@torch.library.custom_op('moganet::dwconv_gelu_decompose_backward', mutates_args=())
def _aggregate_backward(
    da: Tensor, dc: Tensor, h: Tensor, w: Tensor, b: Tensor, w_context: Tensor
) -> tuple[Tensor, Tensor]:
    h, da = (x.contiguous(memory_format=torch.channels_last) for x in (h, da))
    dc = dc.contiguous()
    batch, channels, height, width = h.shape
    rows, images = _shares(batch, channels, height, width)
    parts = triton.cdiv(width, STRIP) * triton.cdiv(height, rows) * triton.cdiv(batch, images)
    sums = h.new_empty((parts, SUMS, channels), dtype=torch.float32)
    dpre, dh = torch.empty_like(h), torch.empty_like(h)
    with torch.cuda.device_of(h):
        _backward[lambda meta: (parts * triton.cdiv(channels, meta['BC']),)](
            h, da, dc, w, b, w_context, dpre, sums, batch, height, width, channels, rows, images,
            kind(h.numel(), width), TW=STRIP, SUMS=SUMS,
        )  # fmt: skip
    _launch_convolution(dpre, w, None, None, dh, None)
    return dh, sums.sum(0)


def _launch_convolution(
    x: Tensor, w: Tensor, b: Tensor | None, w_context: Tensor | None, out: Tensor, parts: Tensor | None
) -> None:
    batch, channels, height, width = x.shape

    def grid(meta: dict) -> tuple[int]:
        bands, strips = triton.cdiv(height, meta['ROWS']), triton.cdiv(width, meta['TW'])
        return (triton.cdiv(channels, BLOCK) * strips * bands * batch,)

    with torch.cuda.device_of(x):
        _convolve[grid](
            x, w, b, w_context, out, parts, height, width, channels, batch * height * width, kind(x.numel(), width),
            BC=BLOCK,
        )  # fmt: skip


def _shares(batch: int, channels: int, height: int, width: int) -> tuple[int, int]:
    """Rows of an image, and images, per program: the more, the smaller the buffer of sums, while programs suffice."""
    rows, images = min(height, 32), 1
    columns = triton.cdiv(width, STRIP) * triton.cdiv(channels, BLOCK)

    def programs(rows: int, images: int) -> int:
        return columns * triton.cdiv(height, rows) * triton.cdiv(batch, images)

    while rows > 4 and programs(rows, 1) < PROGRAMS:
        rows = triton.cdiv(rows, 2)
    while images < batch and programs(rows, 2 * images) >= PROGRAMS:
        images *= 2
    return rows, images


@_aggregate.register_fake
def _(h: Tensor, w: Tensor, b: Tensor, w_context: Tensor, b_context: Tensor) -> tuple[Tensor, Tensor]:
    context = h.new_empty((h.shape[0], 1, *h.shape[2:]))
    return torch.empty_like(h, memory_format=torch.channels_last), context


@_aggregate_backward.register_fake
def _(da: Tensor, dc: Tensor, h: Tensor, w: Tensor, b: Tensor, w_context: Tensor) -> tuple[Tensor, Tensor]:
    sums = h.new_empty((SUMS, h.shape[1]), dtype=torch.float32)
    return torch.empty_like(h, memory_format=torch.channels_last), sums


def _keep(ctx, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    *kept, b_context = inputs
    ctx.save_for_backward(*kept)
    ctx.b_context_dtype = b_context.dtype


def _derive(ctx, da: Tensor, dc: Tensor) -> tuple[Tensor, ...]:
    h, w, b, w_context = ctx.saved_tensors
    dh, sums = _aggregate_backward(da, dc, h, w, b, w_context)
    dw, d_b, d_context = sums.split((9, 1, 1))
    d_b_context = dc.sum(dtype=torch.float32).view(1)
    return (dh, dw.t().reshape(w.shape).to(w.dtype), d_b.view(-1).to(b.dtype),
            d_context.view(w_context.shape).to(w_context.dtype), d_b_context.to(ctx.b_context_dtype))  # fmt: skip


_aggregate.register_autograd(_derive, setup_context=_keep)
