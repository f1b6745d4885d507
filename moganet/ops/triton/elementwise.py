"""What lies between the matrix products of a spatial half on a GPU, and of the residuals: one pass over memory each.

Maps are (B, H, W, C) without gaps; everything is computed in float32. What of a gradient is a sum over positions goes
to buffers of float32, one row per program, which are summed in a fixed order. Nothing here knows autograd.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .activations import silu
from .autotune import ceil_div, launch
from .tiling import CHANNELS, POSITIONS, WARPS, place, shares, vector

# Eight elements per thread: of 16 bits, they are the 16 bytes that a thread best reads at once.
BLOCK = 1024
# Positions and channels that a program has at once, and its warps, where an image's mean is taken: of images of few
# positions, which it then has in registers, and of others. These take this path only where programs are enough.
FEW, MANY = ((64, 64, 4), (256, 64, 8)), (512, 32, 8)
ENOUGH = 128


@triton.jit
def _silu_slope(x):
    share = tl.sigmoid(x)
    return share * (1 + x * (1 - share))


@triton.jit(do_not_specialize=['N'])
def _activated(y_ptr, bias_ptr, u_ptr, N, C, P: tl.constexpr, BC: tl.constexpr):
    image, channels, first, _ = place(N, C, P, BC)
    positions = first + tl.arange(0, P)
    at = image.to(tl.int64) * N * C + positions[:, None] * C + channels[None, :]
    inside = (positions < N)[:, None] & (channels < C)[None, :]
    q = tl.load(y_ptr + at, mask=inside).to(tl.float32) + vector(bias_ptr + image * C, channels, C)
    tl.store(u_ptr + at, silu(q).to(u_ptr.dtype.element_ty), mask=inside)


def activated(y: Tensor, bias: Tensor) -> Tensor:
    """SiLU(y + bias), the bias (B, C) of each image's own."""
    u, share = torch.empty_like(y), shares(y.shape)
    launch(_activated, share.grid, (y, bias, u), share.sizes, P=POSITIONS, BC=CHANNELS, num_warps=WARPS)
    return u


@triton.jit
def _tile(q_ptr, first, channels, N, C, P: tl.constexpr):
    """P positions from ``first`` on: offsets, which of them exist, and values."""
    positions = first + tl.arange(0, P)
    at = positions[:, None] * C + channels[None, :]
    inside = (positions < N)[:, None] & (channels < C)[None, :]
    return at, inside, tl.load(q_ptr + at, mask=inside, other=0).to(tl.float32)


@triton.jit(do_not_specialize=['N'])
def _decomposed(q_ptr, b_ptr, mean_ptr, u_ptr, N, C, ONCE: tl.constexpr, P: tl.constexpr, BC: tl.constexpr):
    """A program has an image's positions of a block of channels; ONCE: all of them at once, in registers."""
    blocks = tl.cdiv(C, BC)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    channels = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    q_ptr += image * N * C
    u_ptr += image * N * C
    b, mean = vector(b_ptr, channels, C), vector(mean_ptr, channels, C)
    if ONCE:
        at, inside, q = _tile(q_ptr, 0, channels, N, C, P)
        bias = b - mean * (tl.sum(q, 0) / N)[None, :]
        tl.store(u_ptr + at, silu(q + bias).to(u_ptr.dtype.element_ty), mask=inside)
    else:
        total = tl.zeros((P, BC), tl.float32)
        for first in range(0, N, P):
            total += _tile(q_ptr, first, channels, N, C, P)[2]
        bias = b - mean * (tl.sum(total, 0) / N)[None, :]
        for first in range(0, N, P):
            at, inside, q = _tile(q_ptr, first, channels, N, C, P)
            tl.store(u_ptr + at, silu(q + bias).to(u_ptr.dtype.element_ty), mask=inside)


def decomposed(q: Tensor, b: Tensor, mean: Tensor) -> Tensor:
    """SiLU(q + b - mean * m), m the mean of q over an image's positions (paper Eq. 6 and 7), b and mean (C)."""
    batch, height, width, channels = q.shape
    positions = height * width
    at_once, block, warps = next((few for few in FEW if positions <= few[0]), MANY)
    programs, once = batch * ceil_div(channels, block), positions <= at_once
    if not once and programs < ENOUGH:
        return activated(q, torch.addcmul(b, mean, q.mean((1, 2)), value=-1))
    u = torch.empty_like(q)
    launch(
        _decomposed,
        (programs,),
        (q, b, mean, u),
        (positions, channels),
        ONCE=once,
        P=at_once,
        BC=block,
        num_warps=warps,
    )
    return u


@triton.jit(do_not_specialize=['N', 'length'])
def _activated_backward(a_ptr, b_ptr, y_ptr, bias_ptr, sums_ptr, N, C, length, P: tl.constexpr, BC: tl.constexpr):
    image, channels, first, part = place(N, C, length, BC)
    start = image.to(tl.int64) * N * C
    bias = vector(bias_ptr + image * C, channels, C)
    sums = tl.zeros((P, BC), tl.float32)
    for i in range(0, length, P):
        positions = first + i + tl.arange(0, P)
        at = start + positions[:, None] * C + channels[None, :]
        inside = ((positions < N) & (positions < first + length))[:, None] & (channels < C)[None, :]
        d = tl.load(a_ptr + at, mask=inside, other=0).to(tl.float32)
        d += tl.load(b_ptr + at, mask=inside, other=0).to(tl.float32)
        d *= _silu_slope(tl.load(y_ptr + at, mask=inside, other=0).to(tl.float32) + bias)
        tl.store(a_ptr + at, d.to(a_ptr.dtype.element_ty), mask=inside)
        sums += d
    tl.store(sums_ptr + part.to(tl.int64) * C + channels, tl.sum(sums, 0), mask=channels < C)


def activated_backward(a: Tensor, b: Tensor, y: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """From the sum of two gradients of ``activated``, that of y, and its sum over each image (B, C). Overwrites a."""
    share = shares(y.shape, summed=True)
    sums = y.new_empty((len(y), share.parts, y.shape[-1]), dtype=torch.float32)
    launch(
        _activated_backward, share.grid, (a, b, y, bias, sums), share.sizes, P=POSITIONS, BC=CHANNELS, num_warps=WARPS
    )
    return a, sums.sum(1)


@triton.jit
def _gated(g_ptr, v_ptr, y_ptr, size, BLOCK: tl.constexpr, DOUBLE: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    g = silu(tl.load(g_ptr + at, mask=inside).to(tl.float32))
    v = silu(tl.load(v_ptr + at, mask=inside).to(tl.float32))
    if DOUBLE:
        g, v = silu(g), silu(v)
    tl.store(y_ptr + at, (g * v).to(y_ptr.dtype.element_ty), mask=inside)


def gated(g: Tensor, v: Tensor, double: bool) -> Tensor:
    """SiLU(g) * SiLU(v) (paper Eq. 8); ``double`` has the activations twice."""
    y, size = torch.empty_like(g), g.numel()
    launch(_gated, (ceil_div(size, BLOCK),), (g, v, y), (size,), BLOCK=BLOCK, DOUBLE=double, num_warps=WARPS)
    return y


@triton.jit(do_not_specialize=['N', 'length'])
def _gated_backward(
    d_ptr, g_ptr, v_ptr, dg_ptr, dv_ptr, sums_ptr, N, C, length, DOUBLE: tl.constexpr, P: tl.constexpr, BC: tl.constexpr
):
    """The gate once more goes where its gradient came from."""
    image, channels, first, part = place(N, C, length, BC)
    start = image.to(tl.int64) * N * C
    dg_sum = tl.zeros((P, BC), tl.float32)
    dv_sum = tl.zeros((P, BC), tl.float32)
    for i in range(0, length, P):
        positions = first + i + tl.arange(0, P)
        at = start + positions[:, None] * C + channels[None, :]
        inside = ((positions < N) & (positions < first + length))[:, None] & (channels < C)[None, :]
        d = tl.load(d_ptr + at, mask=inside, other=0).to(tl.float32)
        g = tl.load(g_ptr + at, mask=inside, other=0).to(tl.float32)
        v = tl.load(v_ptr + at, mask=inside, other=0).to(tl.float32)
        dg, dv = d * _silu_slope(g), d * _silu_slope(v)
        g, v = silu(g), silu(v)
        if DOUBLE:
            dg, dv = dg * _silu_slope(g), dv * _silu_slope(v)
            g, v = silu(g), silu(v)
        dg, dv = dg * v, dv * g
        tl.store(d_ptr + at, (g * v).to(d_ptr.dtype.element_ty), mask=inside)
        tl.store(dg_ptr + at, dg.to(dg_ptr.dtype.element_ty), mask=inside)
        tl.store(dv_ptr + at, dv.to(dv_ptr.dtype.element_ty), mask=inside)
        dg_sum, dv_sum = dg_sum + dg, dv_sum + dv
    to, kept = sums_ptr + part.to(tl.int64) * 2 * C + channels, channels < C
    tl.store(to, tl.sum(dg_sum, 0), mask=kept)
    tl.store(to + C, tl.sum(dv_sum, 0), mask=kept)


def gated_backward(d: Tensor, g: Tensor, v: Tensor, double: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``gated`` once more, the gradients of g and v, and both sums over positions (2, C). Overwrites d."""
    share = shares(g.shape, summed=True)
    dg, dv, sums = torch.empty_like(g), torch.empty_like(g), share.buffer(g, 2 * g.shape[-1])
    launch(
        _gated_backward,
        share.grid,
        (d, g, v, dg, dv, sums),
        share.sizes,
        DOUBLE=double,
        P=POSITIONS,
        BC=CHANNELS,
        num_warps=WARPS,
    )
    return d, dg, dv, sums.sum(0).view(2, -1)


@triton.jit(do_not_specialize=['N'])
def _add_spatial(x_ptr, t_ptr, e_ptr, s_ptr, factor_ptr, mask_ptr, out_ptr, N, C, P: tl.constexpr, BC: tl.constexpr):
    image, channels, first, _ = place(N, C, P, BC)
    positions = first + tl.arange(0, P)
    at = image.to(tl.int64) * N * C + positions[:, None] * C + channels[None, :]
    inside = (positions < N)[:, None] & (channels < C)[None, :]
    x = tl.load(x_ptr + at, mask=inside).to(tl.float32)
    t = tl.load(t_ptr + at, mask=inside).to(tl.float32)
    e = tl.load(e_ptr + at, mask=inside).to(tl.float32)
    if factor_ptr is not None:
        t *= vector(factor_ptr, channels, C)
    t += e * vector(s_ptr, channels, C)
    if mask_ptr is not None:
        t *= tl.load(mask_ptr + image).to(tl.float32)
    tl.store(out_ptr + at, (x + t).to(out_ptr.dtype.element_ty), mask=inside)


def add_spatial(
    x: Tensor, t: Tensor, e: Tensor, s: Tensor, factor: Tensor | None, mask: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """x + mask * (factor * t + s * e), s and the factor (C), the mask one number per image; of type ``dtype``."""
    out, share = torch.empty_like(x, dtype=dtype), shares(x.shape)
    launch(
        _add_spatial,
        share.grid,
        (x, t, e, s, factor, mask, out),
        share.sizes,
        P=POSITIONS,
        BC=CHANNELS,
        num_warps=WARPS,
    )
    return out


@triton.jit(do_not_specialize=['N', 'length'])
def _shortcut_backward(d_ptr, e_ptr, mask_ptr, dt_ptr, sums_ptr, N, C, length, P: tl.constexpr, BC: tl.constexpr):
    image, channels, first, part = place(N, C, length, BC)
    factor = 1.0
    if mask_ptr is not None:
        factor = tl.load(mask_ptr + image).to(tl.float32)
    start = image.to(tl.int64) * N * C
    plain = tl.zeros((P, BC), tl.float32)
    by_e = tl.zeros((P, BC), tl.float32)
    for i in range(0, length, P):
        positions = first + i + tl.arange(0, P)
        at = start + positions[:, None] * C + channels[None, :]
        inside = ((positions < N) & (positions < first + length))[:, None] & (channels < C)[None, :]
        dt = factor * tl.load(d_ptr + at, mask=inside, other=0).to(tl.float32)
        if dt_ptr is not None:
            tl.store(dt_ptr + at, dt.to(dt_ptr.dtype.element_ty), mask=inside)
        plain += dt
        by_e += dt * tl.load(e_ptr + at, mask=inside, other=0).to(tl.float32)
    to, kept = sums_ptr + part.to(tl.int64) * 2 * C + channels, channels < C
    tl.store(to, tl.sum(plain, 0), mask=kept)
    tl.store(to + C, tl.sum(by_e, 0), mask=kept)


def shortcut_backward(d: Tensor, e: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """From the gradient of ``add_spatial``, that of t + s * e, of the type of e; and its sums over positions (2, C):
    of itself, and times e.
    """
    share = shares(d.shape, summed=True)
    dt = None if mask is None and d.dtype is e.dtype else torch.empty_like(e)
    sums = share.buffer(d, 2 * d.shape[-1])
    launch(
        _shortcut_backward, share.grid, (d, e, mask, dt, sums), share.sizes, P=POSITIONS, BC=CHANNELS, num_warps=WARPS
    )
    return d if dt is None else dt, sums.sum(0).view(2, -1)


@triton.jit(do_not_specialize=['N'])
def _add_scaled(t_ptr, d_ptr, s_ptr, bias_ptr, N, C, P: tl.constexpr, BC: tl.constexpr):
    image, channels, first, _ = place(N, C, P, BC)
    positions = first + tl.arange(0, P)
    at = image.to(tl.int64) * N * C + positions[:, None] * C + channels[None, :]
    inside = (positions < N)[:, None] & (channels < C)[None, :]
    t = tl.load(t_ptr + at, mask=inside).to(tl.float32)
    t += tl.load(d_ptr + at, mask=inside).to(tl.float32) * vector(s_ptr, channels, C)
    t += vector(bias_ptr + image * C, channels, C)
    tl.store(t_ptr + at, t.to(t_ptr.dtype.element_ty), mask=inside)


def add_scaled(t: Tensor, d: Tensor, s: Tensor, bias: Tensor) -> Tensor:
    """t + s * d + bias, s (C) and the bias (B, C) of each image's own. Overwrites t."""
    share = shares(t.shape)
    launch(_add_scaled, share.grid, (t, d, s, bias), share.sizes, P=POSITIONS, BC=CHANNELS, num_warps=WARPS)
    return t
