"""A block on a GPU: 1x1 convolutions as matrix products, and between them our kernels. Autograd does the rest.

Layer scales, gamma_c and the one channel that Eq. 10 subtracts are folded into the last 1x1 convolution of each half,
as ``moganet.ops.channel`` derives. Half precision alone multiplies by the layer scale afterwards: a fresh one, 1e-5,
would take its weights below what float16 can hold.
"""

import contextlib

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .. import choice, passes
from ..reference import gate
from . import available, capable

DEVICE = 'cuda'
DTYPES = (torch.float32, torch.bfloat16, torch.float16)


def takes(x: Tensor) -> bool:
    """Whether ``x`` is on a device that this path is for."""
    return x.device.type == DEVICE


def applies(x: Tensor, parts: tuple[nn.Module, ...]) -> bool:
    """Whether this path computes ``x`` by the weights of ``parts``, which it reads without calling them.

    It does under autocast, torch.compile and torch.export; not in double precision, while tracing, under dispatch modes
    and function transforms, and for parts with hooks or of other types.
    """
    if not takes(x) or not available() or torch.jit.is_tracing() or torch.jit.is_scripting():
        return False
    if choice.choice() != 'auto' or x.dtype not in DTYPES or x.dim() != 4 or not x.numel():
        return False
    if not all(choice.untouched(part) and _fits(part, x) for part in parts):
        return False
    if torch.compiler.is_compiling():
        return True
    parameters = (p for part in parts for p in part._parameters.values() if p is not None)
    if choice.intercepted() or any(type(tensor) not in (Tensor, nn.Parameter) for tensor in (x, *parameters)):
        return False
    if not capable(x.device):
        return False
    choice.announce('GPUs')
    return True


def _fits(part: nn.Module, x: Tensor) -> bool:
    """Whether the parameters of ``part`` are beside ``x``, and of its type unless that is chosen per operation."""
    dtypes = DTYPES if torch.is_autocast_enabled(DEVICE) else (x.dtype,)
    return all(p.device == x.device and p.dtype in dtypes for p in part._parameters.values() if p is not None)


def run(block: nn.Module, x: Tensor) -> Tensor:
    """``block(x)``, (B, C, H, W) in channels-last, of the type that the reference gives."""
    device = x.device.type
    dtype = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else x.dtype
    x = x.contiguous(memory_format=torch.channels_last)
    x = _spatial(block.attn, block.layer_scale_1, x, block.norm1(x), _mask(block.drop_path, x), dtype)
    return _channel(block.mlp, block.layer_scale_2, x, block.norm2(x), _mask(block.drop_path, x), dtype)


def _spatial(
    attn: nn.Module, layer_scale: Tensor, x: Tensor, normed: Tensor, mask: Tensor | None, dtype: torch.dtype
) -> Tensor:
    from .decompose import decomposed_silu
    from .gate import gated_silu
    from .multi_order import multi_order_dwconv
    from .residual import residual

    with _without_autocast(x.device.type):
        low, middle, high = attn.value.DW_conv0, attn.value.DW_conv1, attn.value.DW_conv2
        dilations = low.dilation[0], middle.dilation[0], high.dilation[0]
        normed = normed.to(dtype)
        u = decomposed_silu(_product(normed, attn.proj_1.weight, attn.proj_1.bias), attn.sigma.scale)
        g = _product(u, attn.gate.weight, attn.gate.bias)
        m = multi_order_dwconv(u, low.weight, low.bias, middle.weight, middle.bias, high.weight, high.bias, dilations)
        v = _product(m, attn.value.PW_conv.weight, attn.value.PW_conv.bias)
        y = gate(g, v, double=True) if attn.double_gate else gated_silu(g, v)
        folded, rest = _shared(layer_scale, dtype)
        t = _product(y, folded * attn.proj_2.weight.flatten(1), folded.flatten() * attn.proj_2.bias)
        return residual(x, t if rest is None else rest * t, normed, layer_scale, mask)


def _channel(
    mlp: nn.Module, layer_scale: Tensor, x: Tensor, normed: Tensor, mask: Tensor | None, dtype: torch.dtype
) -> Tensor:
    from .aggregate import dwconv_gelu_decompose
    from .residual import residual

    with _without_autocast(x.device.type):
        h = _product(normed.to(dtype), mlp.fc1.weight, mlp.fc1.bias)
        a, context = dwconv_gelu_decompose(
            h, mlp.dwconv.weight, mlp.dwconv.bias, mlp.decompose.weight, mlp.decompose.bias
        )
        folded, rest = _shared(layer_scale, dtype)
        scale = folded.flatten()
        weight, subtracted = passes.folded(mlp.fc2.weight.flatten(1), scale, mlp.sigma.scale.flatten())
        t, s = _product(a, weight, scale * mlp.fc2.bias), -subtracted.view(layer_scale.shape)
        if rest is not None:
            t, s = rest * t, rest * s
        return residual(x, t, F.gelu(context), s, mask)


def _mask(drop_path: nn.Module, x: Tensor) -> Tensor | None:
    """What each image's branch is multiplied by."""
    if isinstance(drop_path, nn.Identity) or not drop_path.training:
        return None
    return drop_path(x.new_ones((len(x), 1, 1, 1), dtype=torch.float32))


def _without_autocast(device: str) -> contextlib.AbstractContextManager:
    """Types as they are written here. Nothing where there is no autocast, for a simpler graph."""
    return torch.autocast(device, enabled=False) if torch.is_autocast_enabled(device) else contextlib.nullcontext()


def _shared(layer_scale: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor | None]:
    """What of a layer scale is folded into the weights, (C, 1), and what is left to multiply by."""
    column = layer_scale.view(-1, 1)
    return (torch.ones_like(column), layer_scale) if dtype is torch.float16 else (column, None)


def _product(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """A 1x1 convolution in the type of ``x``."""
    y = F.linear(x.permute(0, 2, 3, 1), weight.flatten(1).to(x.dtype), bias.to(x.dtype))
    return y.permute(0, 3, 1, 2)
