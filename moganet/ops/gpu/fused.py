"""A folded block on a GPU: 1x1 convolutions as matrix products, and between them our kernels. No derivatives."""

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn import functional as F

from ..reference import gate
from .aggregate import dwconv_gelu_decompose
from .gate import gated_silu
from .multi_order import multi_order_dwconv
from .parts import CHANNELS, POSITIONS, WARPS, place, programs, vector
from .residual import residual


def block(
    x: Tensor, spatial_weights: list[Tensor], channel_weights: list[Tensor], dilations: tuple[int, ...], double: bool
) -> Tensor:
    """The arguments are those of ``moganet.ops.fused.block``; ``x`` is computed in channels-last."""
    x = x.contiguous(memory_format=torch.channels_last)
    return _channel(_spatial(x, spatial_weights, dilations, double), channel_weights)


def _spatial(x: Tensor, weights: list[Tensor], dilations: tuple[int, ...], double: bool) -> Tensor:
    w_in, b_in, mean, w_gate, b_gate, *convs, w_value, b_value, w_out, b_out, shortcut = weights
    q = _product(x, w_in)
    u = biased_silu(q, torch.addcmul(b_in, mean, q.mean((2, 3)), value=-1))
    g, v = _product(u, w_gate, b_gate), _product(multi_order_dwconv(u, *convs, dilations), w_value, b_value)
    y = gate(g, v, double=True) if double else gated_silu(g, v)
    return residual(x, _product(y, w_out, b_out), x, shortcut.view(1, -1, 1, 1), None)


def _channel(x: Tensor, weights: list[Tensor]) -> Tensor:
    w1, b1, w_dw, b_dw, w_context, b_context, w2, b2, subtracted = weights
    a, context = dwconv_gelu_decompose(_product(x, w1, b1), w_dw, b_dw, w_context[:, :, None, None], b_context)
    return residual(x, _product(a, w2, b2), F.gelu(context), -subtracted.view(1, -1, 1, 1), None)


def _product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.linear(x.permute(0, 2, 3, 1), weight, bias).permute(0, 3, 1, 2)


@triton.jit(do_not_specialize=['N'])
def _forward(y_ptr, bias_ptr, u_ptr, N, C, P: tl.constexpr, BC: tl.constexpr):
    image, channels, first, _ = place(N, C, P, BC)
    positions = first + tl.arange(0, P)
    at = image.to(tl.int64) * N * C + positions[:, None] * C + channels[None, :]
    inside = (positions < N)[:, None] & (channels < C)[None, :]
    q = tl.load(y_ptr + at, mask=inside).to(tl.float32) + vector(bias_ptr + image * C, channels, C)
    tl.store(u_ptr + at, (q * tl.sigmoid(q)).to(u_ptr.dtype.element_ty), mask=inside)


@torch.library.custom_op('moganet::biased_silu', mutates_args=())
def biased_silu(y: Tensor, bias: Tensor) -> Tensor:
    """SiLU(y + bias) of a map (B, C, H, W) in channels-last, and of a bias per image, (B, C)."""
    u = torch.empty_like(y)
    with torch.cuda.device_of(y):
        _forward[(programs(y, POSITIONS),)](
            y, bias, u, y.shape[2] * y.shape[3], y.shape[1], P=POSITIONS, BC=CHANNELS, num_warps=WARPS
        )
    return u


@biased_silu.register_fake
def _(y: Tensor, bias: Tensor) -> Tensor:
    return torch.empty_like(y)
