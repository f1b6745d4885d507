"""What a half of a block ends with, in one pass: x + mask (t + e s), e a map, or one channel that all share.

    x: the shortcut    mask: stochastic depth, per image    t: the last 1x1 convolution    s: a number per channel

In the spatial half e is the normalised input and s the layer scale; in the channel half e is the context of Eq. 10 and
s minus what it is multiplied by. Backward, what of the gradients is a sum over channels or positions goes to buffers of
float32, which are summed in a fixed order.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .parts import CHANNELS, POSITIONS, WARPS, longest, parts, place, programs, vector


@triton.jit(do_not_specialize=['N'])
def _forward(x_ptr, t_ptr, e_ptr, s_ptr, mask_ptr, out_ptr, N, C, MAP: tl.constexpr, P: tl.constexpr,
             BC: tl.constexpr):  # fmt: skip
    image, channels, first, _ = place(N, C, P, BC)
    positions = first + tl.arange(0, P)
    start = image.to(tl.int64) * N
    at = start * C + positions[:, None] * C + channels[None, :]
    inside = (positions < N)[:, None] & (channels < C)[None, :]
    x = tl.load(x_ptr + at, mask=inside).to(tl.float32)
    t = tl.load(t_ptr + at, mask=inside).to(tl.float32)
    if MAP:
        e = tl.load(e_ptr + at, mask=inside).to(tl.float32)
    else:
        e = tl.load(e_ptr + start + positions, mask=positions < N).to(tl.float32)[:, None]
    t += e * vector(s_ptr, channels, C)
    if mask_ptr is not None:
        t *= tl.load(mask_ptr + image).to(tl.float32)
    tl.store(out_ptr + at, (x + t).to(out_ptr.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=['N', 'length', 'total'])
def _backward(d_ptr, e_ptr, s_ptr, mask_ptr, dt_ptr, de_ptr, ds_ptr, N, C, length, total, MAP: tl.constexpr,
              P: tl.constexpr, BC: tl.constexpr):  # fmt: skip
    """``de_ptr`` is a map; or a buffer, (blocks of channels, all positions), of sums over channels."""
    image, channels, first, part = place(N, C, length, BC)
    s = vector(s_ptr, channels, C)
    factor = 1.0
    if mask_ptr is not None:
        factor = tl.load(mask_ptr + image).to(tl.float32)
    start = image.to(tl.int64) * N
    ds = tl.zeros((P, BC), tl.float32)
    block = (tl.program_id(0) % tl.cdiv(C, BC)).to(tl.int64)
    for i in range(0, length, P):
        positions = first + i + tl.arange(0, P)
        here = (positions < N) & (positions < first + length)
        at = start * C + positions[:, None] * C + channels[None, :]
        inside = here[:, None] & (channels < C)[None, :]
        dt = factor * tl.load(d_ptr + at, mask=inside, other=0).to(tl.float32)
        if dt_ptr is not None:
            tl.store(dt_ptr + at, dt.to(dt_ptr.dtype.element_ty), mask=inside)
        if MAP:
            e = tl.load(e_ptr + at, mask=inside, other=0).to(tl.float32)
            tl.store(de_ptr + at, (dt * s).to(de_ptr.dtype.element_ty), mask=inside)
        else:
            e = tl.load(e_ptr + start + positions, mask=here, other=0).to(tl.float32)[:, None]
            tl.store(de_ptr + block * total + start + positions, tl.sum(dt * s, 1), mask=here)
        ds += dt * e
    tl.store(ds_ptr + part.to(tl.int64) * C + channels, tl.sum(ds, 0), mask=channels < C)


def residual(x: Tensor, t: Tensor, e: Tensor, s: Tensor, mask: Tensor | None) -> Tensor:
    """``x + mask * (t + e * s)``, of the type that ``x + s`` would have.

    Args:
        x, t: (B, C, H, W), computed in channels-last.
        e: (B, C, H, W), or (B, 1, H, W).
        s: (1, C, 1, 1).
        mask: (B, 1, 1, 1), which gets no gradient, or None.
    """
    return _residual(x, t, e, s, mask)


@torch.library.custom_op('moganet::residual', mutates_args=())
def _residual(x: Tensor, t: Tensor, e: Tensor, s: Tensor, mask: Tensor | None) -> Tensor:
    x, t, e = (y.contiguous(memory_format=torch.channels_last) for y in (x, t, e))
    out = torch.empty_like(x, dtype=torch.promote_types(x.dtype, s.dtype))
    batch, channels, height, width = x.shape
    with torch.cuda.device_of(x):
        _forward[(programs(x, POSITIONS),)](
            x, t, e, s, mask, out, height * width, channels, MAP=_is_map(e), P=POSITIONS, BC=CHANNELS, num_warps=WARPS
        )
    return out


@torch.library.custom_op('moganet::residual_backward', mutates_args=())
def _residual_backward(
    d: Tensor, e: Tensor, s: Tensor, mask: Tensor | None, t_dtype: torch.dtype
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of t, if it is not that of x, of e and of s."""
    d, e = (y.contiguous(memory_format=torch.channels_last) for y in (d, e))
    channels, positions = d.shape[1], d.shape[2] * d.shape[3]
    length = longest(d)
    ds = d.new_empty((parts(d, length), channels), dtype=torch.float32)
    dt = torch.empty_like(d, dtype=t_dtype) if _differs(d, mask, t_dtype) else None
    if _is_map(e):
        de = torch.empty_like(e)
    else:
        de = d.new_empty((triton.cdiv(channels, CHANNELS), *e.shape), dtype=torch.float32)
    with torch.cuda.device_of(d):
        _backward[(programs(d, length),)](
            d, e, s, mask, dt, de, ds, positions, channels, length, e.numel(), MAP=_is_map(e), P=POSITIONS,
            BC=CHANNELS, num_warps=WARPS,
        )  # fmt: skip
    return d.new_empty(0) if dt is None else dt, de if _is_map(e) else de.sum(0).to(e.dtype), ds.sum(0)


@_residual.register_fake
def _(x: Tensor, t: Tensor, e: Tensor, s: Tensor, mask: Tensor | None) -> Tensor:
    dtype = torch.promote_types(x.dtype, s.dtype)
    return torch.empty_like(x, dtype=dtype, memory_format=torch.channels_last)


@_residual_backward.register_fake
def _(d: Tensor, e: Tensor, s: Tensor, mask: Tensor | None, t_dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    like = torch.empty_like
    dt = like(d, dtype=t_dtype, memory_format=torch.channels_last) if _differs(d, mask, t_dtype) else d.new_empty(0)
    de = like(e, memory_format=torch.channels_last if _is_map(e) else torch.contiguous_format)
    return dt, de, d.new_empty(d.shape[1], dtype=torch.float32)


def _keep(ctx, inputs: tuple[Tensor, Tensor, Tensor, Tensor, Tensor | None], output: Tensor) -> None:
    x, t, e, s, mask = inputs
    ctx.save_for_backward(e, s, mask)
    ctx.dtypes = x.dtype, t.dtype


def _derive(ctx, d: Tensor) -> tuple[Tensor | None, ...]:
    e, s, mask = ctx.saved_tensors
    x_dtype, t_dtype = ctx.dtypes
    dt, de, ds = _residual_backward(d, e, s, mask, t_dtype)
    return d.to(x_dtype), dt if _differs(d, mask, t_dtype) else d, de, ds.view(s.shape).to(s.dtype), None


_residual.register_autograd(_derive, setup_context=_keep)


def _is_map(e: Tensor) -> bool:
    return e.shape[1] > 1


def _differs(d: Tensor, mask: Tensor | None, t_dtype: torch.dtype) -> bool:
    """Whether the gradient of t is another than that of the result."""
    return mask is not None or t_dtype is not d.dtype
