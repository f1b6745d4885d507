"""SiLU(g) * SiLU(v), the gate of the spatial half (paper Eq. 8), in one pass over memory each way."""

import torch
import triton
import triton.language as tl
from torch import Tensor

# Eight elements per thread: of 16 bits, they are the 16 bytes that a thread best reads at once.
BLOCK = 1024
WARPS = 4


@triton.jit
def _forward(g_ptr, v_ptr, y_ptr, size, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    g = tl.load(g_ptr + at, mask=inside).to(tl.float32)
    v = tl.load(v_ptr + at, mask=inside).to(tl.float32)
    y = g * tl.sigmoid(g) * v * tl.sigmoid(v)
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=inside)


@triton.jit
def _backward(dy_ptr, g_ptr, v_ptr, dg_ptr, dv_ptr, size, BLOCK: tl.constexpr):
    at = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    dy = tl.load(dy_ptr + at, mask=inside).to(tl.float32)
    g = tl.load(g_ptr + at, mask=inside).to(tl.float32)
    v = tl.load(v_ptr + at, mask=inside).to(tl.float32)
    sg, sv = tl.sigmoid(g), tl.sigmoid(v)
    dg = dy * (v * sv) * (sg * (1 + g * (1 - sg)))
    dv = dy * (g * sg) * (sv * (1 + v * (1 - sv)))
    tl.store(dg_ptr + at, dg.to(dg_ptr.dtype.element_ty), mask=inside)
    tl.store(dv_ptr + at, dv.to(dv_ptr.dtype.element_ty), mask=inside)


def gated_silu(g: Tensor, v: Tensor) -> Tensor:
    """SiLU(g) * SiLU(v) of two maps of one shape and type, in the layout of ``g``. Only they are kept for backward."""
    return _gated_silu(g, v)


@torch.library.custom_op('moganet::gated_silu', mutates_args=())
def _gated_silu(g: Tensor, v: Tensor) -> Tensor:
    y = torch.empty_like(g)
    _launch(_forward, (g, v), y)
    return y


@torch.library.custom_op('moganet::gated_silu_backward', mutates_args=())
def _gated_silu_backward(grad: Tensor, g: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    dg, dv = torch.empty_like(g), torch.empty_like(g)
    _launch(_backward, (grad, g, v), dg, dv)
    return dg, dv


@_gated_silu.register_fake
def _(g: Tensor, v: Tensor) -> Tensor:
    return torch.empty_like(g)


@_gated_silu_backward.register_fake
def _(grad: Tensor, g: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
    return torch.empty_like(g), torch.empty_like(g)


def _keep(ctx, inputs: tuple[Tensor, Tensor], output: Tensor) -> None:
    ctx.save_for_backward(*inputs)


def _derive(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
    return _gated_silu_backward(grad, *ctx.saved_tensors)


_gated_silu.register_autograd(_derive, setup_context=_keep)


def _launch(kernel: triton.JITFunction, inputs: tuple[Tensor, ...], *outputs: Tensor) -> None:
    """The kernels see maps as rows of elements, so that all need the strides of the outputs, which have no gaps."""
    like = outputs[0]
    inputs = (x if x.stride() == like.stride() else torch.empty_like(like).copy_(x) for x in inputs)
    with torch.cuda.device_of(like):
        kernel[(triton.cdiv(like.numel(), BLOCK),)](*inputs, *outputs, like.numel(), BLOCK=BLOCK, num_warps=WARPS)
