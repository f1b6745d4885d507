"""Feature decomposition with its activation (paper Eq. 6 and 7): SiLU(y + s (y - mean of y)), two readings of y.

The mean has a gradient too. Its part is subtracted from that of ``y`` itself, q being what SiLU is taken of:

    dy = (1 + s) dq - s * mean of dq

so that sums over positions come first, then dq once more: nothing but ``y`` and the means is kept.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from .parts import CHANNELS, POSITIONS, WARPS, longest, parts, place, programs, vector


@triton.jit
def _slope(du, y, mean, s):
    """The gradient of q."""
    q = y + s * (y - mean)
    sig = tl.sigmoid(q)
    return du * sig * (1 + q * (1 - sig))


@triton.jit(do_not_specialize=['N'])
def _forward(y_ptr, mean_ptr, s_ptr, u_ptr, N, C, P: tl.constexpr, BC: tl.constexpr):
    image, channels, first, _ = place(N, C, P, BC)
    mean, s = vector(mean_ptr + image * C, channels, C), vector(s_ptr, channels, C)
    positions = first + tl.arange(0, P)
    at = image.to(tl.int64) * N * C + positions[:, None] * C + channels[None, :]
    inside = (positions < N)[:, None] & (channels < C)[None, :]
    y = tl.load(y_ptr + at, mask=inside).to(tl.float32)
    q = y + s * (y - mean)
    tl.store(u_ptr + at, (q * tl.sigmoid(q)).to(u_ptr.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=['N', 'length'])
def _sums(du_ptr, y_ptr, mean_ptr, s_ptr, sums_ptr, N, C, length, P: tl.constexpr, BC: tl.constexpr):
    """Sums of dq and of dq (y - mean) over ``length`` positions."""
    image, channels, first, part = place(N, C, length, BC)
    mean, s = vector(mean_ptr + image * C, channels, C), vector(s_ptr, channels, C)
    start = image.to(tl.int64) * N * C
    plain = tl.zeros((P, BC), tl.float32)
    centred = tl.zeros((P, BC), tl.float32)
    for i in range(0, length, P):
        positions = first + i + tl.arange(0, P)
        at = start + positions[:, None] * C + channels[None, :]
        inside = ((positions < N) & (positions < first + length))[:, None] & (channels < C)[None, :]
        y = tl.load(y_ptr + at, mask=inside, other=0).to(tl.float32)
        dq = _slope(tl.load(du_ptr + at, mask=inside, other=0).to(tl.float32), y, mean, s)
        plain += dq
        centred += dq * (y - mean)
    to = sums_ptr + part.to(tl.int64) * 2 * C + channels
    tl.store(to, tl.sum(plain, 0), mask=channels < C)
    tl.store(to + C, tl.sum(centred, 0), mask=channels < C)


@triton.jit(do_not_specialize=['N'])
def _backward(du_ptr, y_ptr, mean_ptr, s_ptr, mean_dq_ptr, dy_ptr, N, C, P: tl.constexpr, BC: tl.constexpr):
    image, channels, first, _ = place(N, C, P, BC)
    mean, s = vector(mean_ptr + image * C, channels, C), vector(s_ptr, channels, C)
    mean_dq = vector(mean_dq_ptr + image * C, channels, C)
    positions = first + tl.arange(0, P)
    at = image.to(tl.int64) * N * C + positions[:, None] * C + channels[None, :]
    inside = (positions < N)[:, None] & (channels < C)[None, :]
    y = tl.load(y_ptr + at, mask=inside).to(tl.float32)
    dq = _slope(tl.load(du_ptr + at, mask=inside).to(tl.float32), y, mean, s)
    tl.store(dy_ptr + at, (dq + s * (dq - mean_dq)).to(dy_ptr.dtype.element_ty), mask=inside)


def decomposed_silu(y: Tensor, scale: Tensor) -> Tensor:
    """SiLU(y + scale * (y - mean of y over H, W)).

    Args:
        y: (B, C, H, W), computed in channels-last. It is kept for the backward pass.
        scale: (1, C, 1, 1), gamma_s, of any type.

    Returns:
        (B, C, H, W) in channels-last, of the type of ``y``.
    """
    return _decomposed_silu(y, scale)[0]


@torch.library.custom_op('moganet::decomposed_silu', mutates_args=())
def _decomposed_silu(y: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    y = y.contiguous(memory_format=torch.channels_last)
    mean, u = y.mean((2, 3), dtype=torch.float32), torch.empty_like(y)
    _launch(_forward, y, POSITIONS, y, mean, scale, u)
    return u, mean


@torch.library.custom_op('moganet::decomposed_silu_backward', mutates_args=())
def _decomposed_silu_backward(du: Tensor, y: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    du, y = (x.contiguous(memory_format=torch.channels_last) for x in (du, y))
    batch, channels, height, width = y.shape
    length, dy = longest(y), torch.empty_like(y)
    sums = y.new_empty((parts(y, length), 2, channels), dtype=torch.float32)
    _launch(_sums, y, length, du, y, mean, scale, sums)
    sums = sums.view(batch, -1, 2, channels).sum(1)
    _launch(_backward, y, POSITIONS, du, y, mean, scale, sums[:, 0] / (height * width), dy)
    return dy, sums[:, 1].sum(0)


@_decomposed_silu.register_fake
def _(y: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(y, memory_format=torch.channels_last), y.new_empty(y.shape[:2], dtype=torch.float32)


@_decomposed_silu_backward.register_fake
def _(du: Tensor, y: Tensor, mean: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
    dy = torch.empty_like(y, memory_format=torch.channels_last)
    return dy, y.new_empty(y.shape[1], dtype=torch.float32)


def _keep(ctx, inputs: tuple[Tensor, Tensor], output: tuple[Tensor, Tensor]) -> None:
    y, scale = inputs
    ctx.mark_non_differentiable(output[1])
    ctx.save_for_backward(y, output[1], scale)


def _derive(ctx, du: Tensor, _: Tensor) -> tuple[Tensor, Tensor]:
    y, mean, scale = ctx.saved_tensors
    dy, d_scale = _decomposed_silu_backward(du, y, mean, scale)
    return dy, d_scale.view(scale.shape).to(scale.dtype)


_decomposed_silu.register_autograd(_derive, setup_context=_keep)


def _launch(kernel: triton.JITFunction, like: Tensor, length: int, *tensors: Tensor) -> None:
    channels, positions = like.shape[1], like.shape[2] * like.shape[3]
    lengths = (length,) if kernel is _sums else ()
    with torch.cuda.device_of(like):
        kernel[(programs(like, length),)](
            *tensors, positions, channels, *lengths, P=POSITIONS, BC=CHANNELS, num_warps=WARPS
        )
