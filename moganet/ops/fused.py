"""A block whose norms and scales are folded into its convolutions, for inference: by what suits the device.

What is folded, and why that is exact, is told in ``moganet/fusion.py``. Maps of whole operations are (B, H, W, C).
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from . import dispatch, reference, triton
from .cpp import bindings
from .cpp.bindings import MAPS
from .torch import elementwise
from .torch.matmul import images_at_once, product

# How many weights a spatial half has.
SPATIAL = 16
# Channels of an image, and of what a stem's first convolution makes of it, for which a kernel is made, at most.
EMBEDDED, MADE = 3, 128


def spatial(x: Tensor, weights: list[Tensor], dilations: tuple[int, ...], double: bool, out: Tensor) -> None:
    """The spatial half of a block on a CPU, into ``out``."""
    w_in, b_in, mean, w_gate, b_gate, *convs, w_value, b_value, w_out, b_out, shortcut = weights
    channels = x.shape[-1]
    q = product(x.view(-1, channels), w_in).view(x.shape)
    u = elementwise.activated(q, torch.addcmul(b_in, mean, q.mean((1, 2)), value=-1), inplace=True)
    g = product(u.view(-1, channels), w_gate, b_gate)
    v = product(elementwise.multi_order(u, convs, dilations).view(-1, channels), w_value, b_value)
    t = product(elementwise.gated(g, v, double, inplace=True), w_out, b_out).view(x.shape)
    elementwise.add_spatial(t, x, x, shortcut, None, out)


def channel(x: Tensor, weights: list[Tensor], out: Tensor) -> None:
    """The channel half of a block on a CPU, into ``out``."""
    w1, b1, w_dw, b_dw, w_context, b_context, w2, b2, subtracted = weights
    h = product(x.view(-1, x.shape[-1]), w1, b1).view(*x.shape[:3], len(w1))
    g, context = elementwise.hidden(h, w_dw, b_dw, w_context.flatten(), b_context)
    elementwise.add_channel(product(g, w2, b2).view(x.shape), x, context, subtracted, None, out)


def in_groups(half: Callable[[Tensor, Tensor], None], x: Tensor, width: int) -> Tensor:
    """``half`` of all images, as many at a time as have their maps of ``width`` channels in the processor's cache."""
    out = torch.empty_like(x)
    step = images_at_once(x, width)
    for i in range(0, len(x), step):
        half(x[i : i + step], out[i : i + step])
    return out


def block(
    x: Tensor, spatial_weights: list[Tensor], channel_weights: list[Tensor], dilations: tuple[int, ...], double: bool
) -> Tensor:
    """A block, (B, C, H, W) to the same, by what suits the device.

    Args:
        x: The map.
        spatial_weights, channel_weights: As ``moganet.fusion`` lists them.
        dilations: Of the three depthwise convolutions.
        double: Whether the gate has both activations twice.
    """
    if not dispatch.fused(x):
        return channel_in_parts(spatial_in_parts(x, spatial_weights, dilations, double), channel_weights)
    compute = opaque_block if torch.compiler.is_compiling() else _by_kernels
    return compute(x, [*spatial_weights, *channel_weights], dilations, double)


def prepare(spatial_weights: list[Tensor], channel_weights: list[Tensor]) -> None:
    """Let a GPU have its own form of weights before a compiler's graph, which must not make it, asks for them."""
    if spatial_weights[0].is_cuda and triton.available() and not dispatch.intercepted():
        from .triton import fused

        with torch.cuda.device_of(spatial_weights[0]):
            fused.prepared(spatial_weights, channel_weights, keep=True)


def embed(x: Tensor, conv: nn.Conv2d, act: nn.Module) -> Tensor:
    """``act(conv(x))``, the beginning of a stem, by what suits the device."""
    if not (x.is_cuda and dispatch.fused(x) and _embeds(x, conv, act)):
        return act(conv(x))
    compute = opaque_embed if torch.compiler.is_compiling() else _embed_by_kernel
    return compute(x, conv.weight, conv.bias)


def _embeds(x: Tensor, conv: nn.Conv2d, act: nn.Module) -> bool:
    """Whether a kernel is made for these: 3x3 of stride 2 and few channels, exact GELU, 16 bits."""
    return (
        x.dtype in (torch.bfloat16, torch.float16)
        and conv.weight.dtype is x.dtype
        and x.shape[1] <= EMBEDDED
        and type(conv) is nn.Conv2d
        and type(act) is nn.GELU
        and act.approximate == 'none'
        and (conv.kernel_size, conv.stride, conv.padding, conv.dilation) == ((3, 3), (2, 2), (1, 1), (1, 1))
        and conv.groups == 1
        and conv.out_channels <= MADE
        and conv.padding_mode == 'zeros'
        and conv.bias is not None
        and dispatch.untouched(conv)
        and dispatch.untouched(act)
    )


def _embed_by_kernel(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    from .triton import stem

    with torch.cuda.device_of(x):
        return stem.embed(x, weight, bias)


@torch.library.custom_op(
    'moganet::embed',
    mutates_args=(),
    device_types=('cpu', 'cuda'),
    schema='(Tensor x, Tensor weight, Tensor bias) -> Tensor',
)
def opaque_embed(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """The same for a compiler."""
    return _embed_by_kernel(x, weight, bias)


@opaque_embed.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    batch, _, height, width = x.shape
    return x.new_empty((batch, (height + 1) // 2, (width + 1) // 2, len(weight))).permute(0, 3, 1, 2)


def _by_kernels(
    x: Tensor, weights: list[Tensor], dilations: tuple[int, ...], double: bool, keep: bool = True
) -> Tensor:
    spatial_weights, channel_weights = weights[:SPATIAL], weights[SPATIAL:]
    if x.is_cuda:
        from .triton import fused

        return fused.block(x, spatial_weights, channel_weights, dilations, double, keep)
    x = x.permute(0, 2, 3, 1).contiguous()
    usual = all(w.dtype is torch.float32 and w.is_contiguous() for w in weights)
    if usual and dispatch.compiled(x, spatial_weights[5:10:2]):
        x = bindings.spatial(x, x, None, spatial_weights, (double, dilations), None)
        return bindings.channel(x, x, None, channel_weights, None).permute(0, 3, 1, 2)
    x = in_groups(lambda part, out: spatial(part, spatial_weights, dilations, double, out), x, MAPS * x.shape[-1])
    x = in_groups(lambda part, out: channel(part, channel_weights, out), x, len(channel_weights[0]))
    return x.permute(0, 3, 1, 2)


# Spelled out for PyTorch below 2.7, which does not derive it from these annotations.
SCHEMA = '(Tensor x, Tensor[] weights, int[] dilations, bool double) -> Tensor'


@torch.library.custom_op('moganet::fused_block', mutates_args=(), device_types=('cpu', 'cuda'), schema=SCHEMA)
def opaque_block(x: Tensor, weights: list[Tensor], dilations: list[int], double: bool) -> Tensor:
    """The same for a compiler, which could not write it as fast."""
    return _by_kernels(x, weights, dilations, double, keep=False)


@opaque_block.register_fake
def _(x: Tensor, weights: list[Tensor], dilations: list[int], double: bool) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def spatial_in_parts(x: Tensor, weights: list[Tensor], dilations: tuple[int, ...], double: bool) -> Tensor:
    """The spatial half by ordinary operations on (B, C, H, W), for any device, graph or derivative."""
    w_in, b_in, mean, w_gate, b_gate, w0, b0, w1, b1, w2, b2, w_value, b_value, w_out, b_out, shortcut = weights
    q = _pointwise(x, w_in)
    u = F.silu(q + torch.addcmul(b_in, mean, q.mean((2, 3)), value=-1)[:, :, None, None])
    convs = (_depthwise(w, b, d) for w, b, d in zip((w0, w1, w2), (b0, b1, b2), dilations, strict=True))
    m = reference.multi_order_dwconv(u, *convs)
    t = reference.gate(_pointwise(u, w_gate, b_gate), _pointwise(m, w_value, b_value), double)
    return x + torch.addcmul(_pointwise(t, w_out, b_out), x, shortcut[:, None, None])


def channel_in_parts(x: Tensor, weights: list[Tensor]) -> Tensor:
    """The channel half by ordinary operations on (B, C, H, W)."""
    w1, b1, w_dw, b_dw, w_context, b_context, w2, b2, subtracted = weights
    h = F.gelu(_depthwise(w_dw, b_dw, 1)(_pointwise(x, w1, b1)))
    context = F.gelu(_pointwise(h, w_context, b_context))
    return x + (_pointwise(h, w2, b2) - context * subtracted[:, None, None])


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.conv2d(x, weight[:, :, None, None], bias)


def _depthwise(weight: Tensor, bias: Tensor, dilation: int) -> Callable[[Tensor], Tensor]:
    padding = weight.shape[-1] // 2 * dilation
    return functools.partial(F.conv2d, weight=weight, bias=bias, padding=padding, dilation=dilation, groups=len(weight))
