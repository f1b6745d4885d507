"""Element-wise steps of the spatial branch, of the residuals, and their gradients; one pass over memory each.

Maps are (B, H, W, C), contiguous, in float32, bfloat16 or float16. Kernels compute in float32. Sums over positions go
to a float32 buffer with a row per chunk; the rows are added in a fixed order. These functions do not record gradients.

Not timed on a GPU in this form: the backward kernels.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .activations import silu, silu_derivative
from .autotune import ceil_div, launch
from .tiling import CHANNELS, POSITIONS, WARPS, load_channels, locate, tiling_of

# Elements of a program of the gate. Each thread has eight: in 16 bits these are the 16 bytes that it reads fastest.
BLOCK = 1024
# Positions, channels and warps of a program that also computes the mean of an image. A small tile holds all positions
# of an image in registers. A program reads a larger image twice, if that still gives MIN_PROGRAMS programs.
SMALL_TILES, LARGE_TILE = ((64, 64, 4), (256, 64, 8)), (512, 32, 8)
MIN_PROGRAMS = 128


@triton.jit(do_not_specialize=['N'])
def _activated(y_ptr, bias_ptr, u_ptr, N, C, P: tl.constexpr, BC: tl.constexpr):
    image, channels, first, _ = locate(N, C, P, BC)
    positions = first + tl.arange(0, P)
    offsets = image.to(tl.int64) * N * C + positions[:, None] * C + channels[None, :]
    inside = (positions < N)[:, None] & (channels < C)[None, :]
    q = tl.load(y_ptr + offsets, mask=inside).to(tl.float32) + load_channels(bias_ptr + image * C, channels, C)
    tl.store(u_ptr + offsets, silu(q).to(u_ptr.dtype.element_ty), mask=inside)


def activated(y: Tensor, bias: Tensor) -> Tensor:
    """Return SiLU(y + bias), of the type of ``y``.

    Args:
        y: (B, H, W, C).
        bias: A bias for each image (B, C), float32.
    """
    u, tiling = torch.empty_like(y), tiling_of(y.shape)
    launch(_activated, tiling.grid, (y, bias, u), tiling.sizes, P=POSITIONS, BC=CHANNELS, num_warps=WARPS)
    return u


@triton.jit
def _load_tile(q_ptr, first, channels, N, C, P: tl.constexpr):
    """Return offsets, mask and values of P positions from ``first`` on."""
    positions = first + tl.arange(0, P)
    offsets = positions[:, None] * C + channels[None, :]
    inside = (positions < N)[:, None] & (channels < C)[None, :]
    return offsets, inside, tl.load(q_ptr + offsets, mask=inside, other=0).to(tl.float32)


@triton.jit(do_not_specialize=['N'])
def _decomposed(q_ptr, b_ptr, mean_ptr, u_ptr, N, C, SINGLE_PASS: tl.constexpr, P: tl.constexpr, BC: tl.constexpr):
    """Compute all positions of an image for a block of channels. SINGLE_PASS: one tile of P positions holds them."""
    blocks = tl.cdiv(C, BC)
    image = (tl.program_id(0) // blocks).to(tl.int64)
    channels = tl.program_id(0) % blocks * BC + tl.arange(0, BC)
    q_ptr += image * N * C
    u_ptr += image * N * C
    b, mean = load_channels(b_ptr, channels, C), load_channels(mean_ptr, channels, C)
    if SINGLE_PASS:
        offsets, inside, q = _load_tile(q_ptr, 0, channels, N, C, P)
        bias = b - mean * (tl.sum(q, 0) / N)[None, :]
        tl.store(u_ptr + offsets, silu(q + bias).to(u_ptr.dtype.element_ty), mask=inside)
    else:
        total = tl.zeros((P, BC), tl.float32)
        for first in range(0, N, P):
            total += _load_tile(q_ptr, first, channels, N, C, P)[2]
        bias = b - mean * (tl.sum(total, 0) / N)[None, :]
        for first in range(0, N, P):
            offsets, inside, q = _load_tile(q_ptr, first, channels, N, C, P)
            tl.store(u_ptr + offsets, silu(q + bias).to(u_ptr.dtype.element_ty), mask=inside)


def decomposed(q: Tensor, b: Tensor, mean: Tensor) -> Tensor:
    """Return SiLU(q + b - mean * m), where m is the spatial mean of q in each image (paper Eq. 6 and 7).

    Args:
        q: (B, H, W, C).
        b: Bias (C).
        mean: Factors of the spatial mean (C).
    """
    batch, height, width, channels = q.shape
    positions = height * width
    tile_positions, block, warps = next((tile for tile in SMALL_TILES if positions <= tile[0]), LARGE_TILE)
    programs, single_pass = batch * ceil_div(channels, block), positions <= tile_positions
    if not single_pass and programs < MIN_PROGRAMS:
        return activated(q, torch.addcmul(b, mean, q.mean((1, 2)), value=-1))
    u = torch.empty_like(q)
    launch(
        _decomposed,
        (programs,),
        (q, b, mean, u),
        (positions, channels),
        SINGLE_PASS=single_pass,
        P=tile_positions,
        BC=block,
        num_warps=warps,
    )
    return u


@triton.jit(do_not_specialize=['N', 'length'])
def _activated_backward(a_ptr, b_ptr, y_ptr, bias_ptr, sums_ptr, N, C, length, P: tl.constexpr, BC: tl.constexpr):
    image, channels, first, chunk = locate(N, C, length, BC)
    start = image.to(tl.int64) * N * C
    bias = load_channels(bias_ptr + image * C, channels, C)
    sums = tl.zeros((P, BC), tl.float32)
    for i in range(0, length, P):
        positions = first + i + tl.arange(0, P)
        offsets = start + positions[:, None] * C + channels[None, :]
        inside = ((positions < N) & (positions < first + length))[:, None] & (channels < C)[None, :]
        d = tl.load(a_ptr + offsets, mask=inside, other=0).to(tl.float32)
        d += tl.load(b_ptr + offsets, mask=inside, other=0).to(tl.float32)
        d *= silu_derivative(tl.load(y_ptr + offsets, mask=inside, other=0).to(tl.float32) + bias)
        tl.store(a_ptr + offsets, d.to(a_ptr.dtype.element_ty), mask=inside)
        sums += d
    tl.store(sums_ptr + chunk.to(tl.int64) * C + channels, tl.sum(sums, 0), mask=channels < C)


def activated_backward(a: Tensor, b: Tensor, y: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradient of ``activated`` with respect to ``y``, and its sum over each image.

    Args:
        a: First summand of the gradient of the output (B, H, W, C), overwritten.
        b: Second summand (B, H, W, C).
        y: Argument of ``activated``.
        bias: Argument of ``activated``.

    Returns:
        The gradient (B, H, W, C), in the memory of ``a``, and its sums (B, C) in float32.
    """
    tiling = tiling_of(y.shape, summed=True)
    sums = y.new_empty((len(y), tiling.chunks, y.shape[-1]), dtype=torch.float32)
    launch(
        _activated_backward, tiling.grid, (a, b, y, bias, sums), tiling.sizes, P=POSITIONS, BC=CHANNELS, num_warps=WARPS
    )
    return a, sums.sum(1)


@triton.jit
def _gated(g_ptr, v_ptr, y_ptr, size, BLOCK: tl.constexpr, DOUBLE: tl.constexpr):
    offsets = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = offsets < size
    g = silu(tl.load(g_ptr + offsets, mask=inside).to(tl.float32))
    v = silu(tl.load(v_ptr + offsets, mask=inside).to(tl.float32))
    if DOUBLE:
        g, v = silu(g), silu(v)
    tl.store(y_ptr + offsets, (g * v).to(y_ptr.dtype.element_ty), mask=inside)


def gated(g: Tensor, v: Tensor, double: bool) -> Tensor:
    """Return SiLU(g) * SiLU(v) (paper Eq. 8).

    Args:
        g: Gate, of any shape.
        v: Value, of the shape and type of the gate.
        double: Apply both activations twice.
    """
    y, size = torch.empty_like(g), g.numel()
    launch(_gated, (ceil_div(size, BLOCK),), (g, v, y), (size,), BLOCK=BLOCK, DOUBLE=double, num_warps=WARPS)
    return y


@triton.jit(do_not_specialize=['N', 'length'])
def _gated_backward(
    d_ptr, g_ptr, v_ptr, dg_ptr, dv_ptr, sums_ptr, N, C, length, DOUBLE: tl.constexpr, P: tl.constexpr, BC: tl.constexpr
):
    """Store the output of the gate, computed again, in place of its gradient."""
    image, channels, first, chunk = locate(N, C, length, BC)
    start = image.to(tl.int64) * N * C
    dg_sum = tl.zeros((P, BC), tl.float32)
    dv_sum = tl.zeros((P, BC), tl.float32)
    for i in range(0, length, P):
        positions = first + i + tl.arange(0, P)
        offsets = start + positions[:, None] * C + channels[None, :]
        inside = ((positions < N) & (positions < first + length))[:, None] & (channels < C)[None, :]
        d = tl.load(d_ptr + offsets, mask=inside, other=0).to(tl.float32)
        g = tl.load(g_ptr + offsets, mask=inside, other=0).to(tl.float32)
        v = tl.load(v_ptr + offsets, mask=inside, other=0).to(tl.float32)
        dg, dv = d * silu_derivative(g), d * silu_derivative(v)
        g, v = silu(g), silu(v)
        if DOUBLE:
            dg, dv = dg * silu_derivative(g), dv * silu_derivative(v)
            g, v = silu(g), silu(v)
        dg, dv = dg * v, dv * g
        tl.store(d_ptr + offsets, (g * v).to(d_ptr.dtype.element_ty), mask=inside)
        tl.store(dg_ptr + offsets, dg.to(dg_ptr.dtype.element_ty), mask=inside)
        tl.store(dv_ptr + offsets, dv.to(dv_ptr.dtype.element_ty), mask=inside)
        dg_sum, dv_sum = dg_sum + dg, dv_sum + dv
    sums_row, exists = sums_ptr + chunk.to(tl.int64) * 2 * C + channels, channels < C
    tl.store(sums_row, tl.sum(dg_sum, 0), mask=exists)
    tl.store(sums_row + C, tl.sum(dv_sum, 0), mask=exists)


def gated_backward(d: Tensor, g: Tensor, v: Tensor, double: bool) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the output of ``gated``, computed again, and the gradients of its arguments.

    Args:
        d: Gradient of the output (B, H, W, C), overwritten.
        g: Gate (B, H, W, C).
        v: Value (B, H, W, C).
        double: Argument of ``gated``.

    Returns:
        The output, in the memory of ``d``; the gradients of ``g`` and ``v``; the sums of both over all positions (2, C)
        in float32.
    """
    tiling = tiling_of(g.shape, summed=True)
    dg, dv, sums = torch.empty_like(g), torch.empty_like(g), tiling.partial_sums(g, 2 * g.shape[-1])
    launch(
        _gated_backward,
        tiling.grid,
        (d, g, v, dg, dv, sums),
        tiling.sizes,
        DOUBLE=double,
        P=POSITIONS,
        BC=CHANNELS,
        num_warps=WARPS,
    )
    return d, dg, dv, sums.sum(0).view(2, -1)


@triton.jit(do_not_specialize=['N'])
def _add_spatial(x_ptr, t_ptr, e_ptr, s_ptr, factor_ptr, mask_ptr, out_ptr, N, C, P: tl.constexpr, BC: tl.constexpr):
    image, channels, first, _ = locate(N, C, P, BC)
    positions = first + tl.arange(0, P)
    offsets = image.to(tl.int64) * N * C + positions[:, None] * C + channels[None, :]
    inside = (positions < N)[:, None] & (channels < C)[None, :]
    x = tl.load(x_ptr + offsets, mask=inside).to(tl.float32)
    t = tl.load(t_ptr + offsets, mask=inside).to(tl.float32)
    e = tl.load(e_ptr + offsets, mask=inside).to(tl.float32)
    if factor_ptr is not None:
        t *= load_channels(factor_ptr, channels, C)
    t += e * load_channels(s_ptr, channels, C)
    if mask_ptr is not None:
        t *= tl.load(mask_ptr + image).to(tl.float32)
    tl.store(out_ptr + offsets, (x + t).to(out_ptr.dtype.element_ty), mask=inside)


def add_spatial(
    x: Tensor, t: Tensor, e: Tensor, s: Tensor, factor: Tensor | None, mask: Tensor | None, dtype: torch.dtype
) -> Tensor:
    """Return x + mask * (factor * t + s * e).

    Args:
        x: The residual (B, H, W, C).
        t: Output of the last 1x1 convolution, B * H * W * C elements.
        e: Map of the branch's own shortcut (B, H, W, C).
        s: Factors of ``e`` (C).
        factor: Factors of ``t`` (C), or None for 1.
        mask: Factors of stochastic depth, B elements, or None for 1.
        dtype: Type of the result.
    """
    out, tiling = torch.empty_like(x, dtype=dtype), tiling_of(x.shape)
    launch(
        _add_spatial,
        tiling.grid,
        (x, t, e, s, factor, mask, out),
        tiling.sizes,
        P=POSITIONS,
        BC=CHANNELS,
        num_warps=WARPS,
    )
    return out


@triton.jit(do_not_specialize=['N', 'length'])
def _shortcut_backward(d_ptr, e_ptr, mask_ptr, dt_ptr, sums_ptr, N, C, length, P: tl.constexpr, BC: tl.constexpr):
    image, channels, first, chunk = locate(N, C, length, BC)
    factor = 1.0
    if mask_ptr is not None:
        factor = tl.load(mask_ptr + image).to(tl.float32)
    start = image.to(tl.int64) * N * C
    plain = tl.zeros((P, BC), tl.float32)
    times_e = tl.zeros((P, BC), tl.float32)
    for i in range(0, length, P):
        positions = first + i + tl.arange(0, P)
        offsets = start + positions[:, None] * C + channels[None, :]
        inside = ((positions < N) & (positions < first + length))[:, None] & (channels < C)[None, :]
        dt = factor * tl.load(d_ptr + offsets, mask=inside, other=0).to(tl.float32)
        if dt_ptr is not None:
            tl.store(dt_ptr + offsets, dt.to(dt_ptr.dtype.element_ty), mask=inside)
        plain += dt
        times_e += dt * tl.load(e_ptr + offsets, mask=inside, other=0).to(tl.float32)
    sums_row, exists = sums_ptr + chunk.to(tl.int64) * 2 * C + channels, channels < C
    tl.store(sums_row, tl.sum(plain, 0), mask=exists)
    tl.store(sums_row + C, tl.sum(times_e, 0), mask=exists)


def shortcut_backward(d: Tensor, e: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the gradient of factor * t + s * e in ``add_spatial``, and its sums over all positions.

    Args:
        d: Gradient of the output (B, H, W, C).
        e: Argument of ``add_spatial``.
        mask: Argument of ``add_spatial``.

    Returns:
        The gradient, of the type of ``e``; it is ``d`` itself where mask and type change nothing. The sums (2, C) in
        float32: of the gradient, and of the gradient times ``e``.
    """
    tiling = tiling_of(d.shape, summed=True)
    dt = None if mask is None and d.dtype is e.dtype else torch.empty_like(e)
    sums = tiling.partial_sums(d, 2 * d.shape[-1])
    launch(
        _shortcut_backward, tiling.grid, (d, e, mask, dt, sums), tiling.sizes, P=POSITIONS, BC=CHANNELS, num_warps=WARPS
    )
    return d if dt is None else dt, sums.sum(0).view(2, -1)


@triton.jit(do_not_specialize=['N'])
def _add_scaled(t_ptr, d_ptr, s_ptr, bias_ptr, N, C, P: tl.constexpr, BC: tl.constexpr):
    image, channels, first, _ = locate(N, C, P, BC)
    positions = first + tl.arange(0, P)
    offsets = image.to(tl.int64) * N * C + positions[:, None] * C + channels[None, :]
    inside = (positions < N)[:, None] & (channels < C)[None, :]
    t = tl.load(t_ptr + offsets, mask=inside).to(tl.float32)
    t += tl.load(d_ptr + offsets, mask=inside).to(tl.float32) * load_channels(s_ptr, channels, C)
    t += load_channels(bias_ptr + image * C, channels, C)
    tl.store(t_ptr + offsets, t.to(t_ptr.dtype.element_ty), mask=inside)


def add_scaled(t: Tensor, d: Tensor, s: Tensor, bias: Tensor) -> Tensor:
    """Return t + s * d + bias, in the memory of ``t``.

    Args:
        t: (B, H, W, C), overwritten.
        d: (B, H, W, C).
        s: Factors of ``d`` (C).
        bias: A bias for each image (B, C).
    """
    tiling = tiling_of(t.shape)
    launch(_add_scaled, tiling.grid, (t, d, s, bias), tiling.sizes, P=POSITIONS, BC=CHANNELS, num_warps=WARPS)
    return t
