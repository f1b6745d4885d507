"""A folded block: norms and scales are part of its convolutions' weights. For inference.

``moganet/fusion.py`` says why folding is exact, and lists the weights of the two branches. A backend computes where one
accepts. The eager operators of this file compute everywhere else: while exporting, under autocast, and for derivatives
by the image.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..arch import split_channels
from . import dispatch, triton
from .conditions import is_intercepted
from .interface import Backend, Options
from .triton.backend import stem

# Number of weights of a spatial branch.
SPATIAL_WEIGHTS = 16


def block(x: Tensor, spatial_weights: list[Tensor], channel_weights: list[Tensor], options: Options) -> Tensor:
    """Compute a folded block.

    Args:
        x: (B, C, H, W).
        spatial_weights: Folded weights of the spatial branch, as ``moganet.fusion`` lists them.
        channel_weights: Folded weights of the channel branch.
        options: Settings of the block.

    Returns:
        (B, C, H, W).
    """
    weights = [*spatial_weights, *channel_weights]
    backend = dispatch.backend_for_folded(x, weights)
    if backend is None:
        return eager(x, weights, options)
    if torch.compiler.is_compiling():
        return block_operator(x, weights, options.dilations, options.double_gate)
    return run(backend, x, weights, options)


def run(backend: Backend, x: Tensor, weights: list[Tensor], options: Options, cache: bool = True) -> Tensor:
    """Compute a folded block by a backend that accepts it.

    Args:
        backend: The backend.
        x: (B, C, H, W).
        weights: Folded weights of both branches.
        options: Settings of the block.
        cache: Keep derived forms of the weights for the next call.
    """
    return backend.folded(x, weights[:SPATIAL_WEIGHTS], weights[SPATIAL_WEIGHTS:], options, cache)


# PyTorch below 2.7 does not derive this schema from the annotations.
BLOCK_SCHEMA = '(Tensor x, Tensor[] weights, int[] dilations, bool double) -> Tensor'


@torch.library.custom_op('moganet::fused_block', mutates_args=(), device_types=('cpu', 'cuda'), schema=BLOCK_SCHEMA)
def block_operator(x: Tensor, weights: list[Tensor], dilations: Sequence[int], double: bool) -> Tensor:
    """Compute a folded block as an operator of torch.compile's graphs.

    If no backend accepts, since the mode was changed after the graph was compiled, the eager operators compute.
    """
    options = Options(double, tuple(dilations))
    backend = dispatch.first_for_folded(x, weights)
    if backend is None:
        return eager(x, weights, options).contiguous(memory_format=torch.channels_last)
    return run(backend, x, weights, options, cache=False)


@block_operator.register_fake
def _(x: Tensor, weights: list[Tensor], dilations: Sequence[int], double: bool) -> Tensor:
    return torch.empty_like(x, memory_format=torch.channels_last)


def prepare(spatial_weights: list[Tensor], channel_weights: list[Tensor]) -> None:
    """Derive the forms of the weights that GPU kernels read, before a compiler's graph, which must not do so, runs."""
    if spatial_weights[0].is_cuda and triton.available() and not is_intercepted():
        from .triton import fused

        with torch.cuda.device_of(spatial_weights[0]):
            fused.prepared(spatial_weights, channel_weights, cache=True)


def stem_start(x: Tensor, conv: nn.Module, act: nn.Module) -> Tensor:
    """Return ``act(conv(x))``, the first layers of a folded stem, by a kernel where there is one.

    Args:
        x: The image (B, in, H, W).
        conv: The first convolution of the stem.
        act: The activation after it.
    """
    if type(conv) is not nn.Conv2d or conv.bias is None or not dispatch.has_stem_kernel(x, conv, act):
        return act(conv(x))
    compute = stem_operator if torch.compiler.is_compiling() else stem
    return compute(x, conv.weight, conv.bias)


STEM_SCHEMA = '(Tensor x, Tensor weight, Tensor bias) -> Tensor'


@torch.library.custom_op('moganet::embed', mutates_args=(), device_types=('cpu', 'cuda'), schema=STEM_SCHEMA)
def stem_operator(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Compute the first layers of a folded stem as an operator of torch.compile's graphs."""
    return stem(x, weight, bias)


@stem_operator.register_fake
def _(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    batch, _, height, width = x.shape
    return x.new_empty((batch, (height + 1) // 2, (width + 1) // 2, len(weight))).permute(0, 3, 1, 2)


def eager(x: Tensor, weights: Sequence[Tensor], options: Options) -> Tensor:
    """Compute a folded block by PyTorch's operators, for any device, graph or derivative.

    Args:
        x: (B, C, H, W).
        weights: Folded weights of both branches.
        options: Settings of the block.
    """
    return _channel_eager(_spatial_eager(x, weights[:SPATIAL_WEIGHTS], options), weights[SPATIAL_WEIGHTS:])


def _spatial_eager(x: Tensor, weights: Sequence[Tensor], options: Options) -> Tensor:
    w_in, b_in, mean, w_gate, b_gate, w0, b0, w1, b1, w2, b2, w_value, b_value, w_out, b_out, shortcut = weights
    q = _pointwise(x, w_in)
    u = F.silu(q + torch.addcmul(b_in, mean, q.mean((2, 3)), value=-1)[:, :, None, None])
    d0, d1, d2 = options.dilations
    low, middle, high = _depthwise(u, w0, b0, d0).split(split_channels(x.shape[1]), dim=1)
    m = torch.cat((low, _depthwise(middle, w1, b1, d1), _depthwise(high, w2, b2, d2)), dim=1)
    g, v = F.silu(_pointwise(u, w_gate, b_gate)), F.silu(_pointwise(m, w_value, b_value))
    if options.double_gate:
        g, v = F.silu(g), F.silu(v)
    return x + torch.addcmul(_pointwise(g * v, w_out, b_out), x, shortcut[:, None, None])


def _channel_eager(x: Tensor, weights: Sequence[Tensor]) -> Tensor:
    w1, b1, w_dw, b_dw, w_context, b_context, w2, b2, subtracted = weights
    h = F.gelu(_depthwise(_pointwise(x, w1, b1), w_dw, b_dw))
    context = F.gelu(_pointwise(h, w_context, b_context))
    return x + (_pointwise(h, w2, b2) - context * subtracted[:, None, None])


def _pointwise(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return F.conv2d(x, weight[:, :, None, None], bias)


def _depthwise(x: Tensor, weight: Tensor, bias: Tensor, dilation: int = 1) -> Tensor:
    padding = weight.shape[-1] // 2 * dilation
    return F.conv2d(x, weight, bias, padding=padding, dilation=dilation, groups=len(weight))
