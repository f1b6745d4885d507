"""A folded block on GPUs, for inference: 1x1 convolutions as matmuls, and Triton kernels between them."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ... import compat
from ..interface import Options
from . import context, dwconv_gelu, elementwise, multi_order, pointwise
from .matmul import matmul

# For each block, by one of its weights: state of the weights, the other weights, and their forms for the kernels.
cache_of_weights = WeakTensorKeyDictionary()


def block(
    x: Tensor,
    spatial_weights: Sequence[Tensor],
    channel_weights: Sequence[Tensor],
    options: Options,
    cache: bool,
) -> Tensor:
    """Compute a folded block; see ``interface.Folded``."""
    with torch.cuda.device_of(x):
        rows = x.permute(0, 2, 3, 1).contiguous()
        table, *extended = prepared(spatial_weights, channel_weights, cache)
        rows = _spatial(rows, spatial_weights, table, options)
        return _channel(rows, channel_weights, *extended).permute(0, 3, 1, 2)


def _spatial(x: Tensor, weights: Sequence[Tensor], table: Tensor, options: Options) -> Tensor:
    """Compute the spatial branch of a folded block on (B, H, W, C)."""
    w_in, b_in, mean, w_gate, b_gate, *_, w_value, b_value, w_out, b_out, shortcut = weights
    q = matmul(_rows(x), w_in).view(x.shape)
    u = elementwise.decomposed(q, b_in, mean)
    m = multi_order.forward(u, table, options.dilations)
    separate = x.dtype is torch.float32  # in float32, cuBLAS multiplies faster than the kernels of pointwise.py
    if separate or options.double_gate:
        s = elementwise.gated(matmul(_rows(u), w_gate, b_gate), matmul(_rows(m), w_value, b_value), options.double_gate)
    else:
        s = pointwise.gated(_rows(u), _rows(m), w_gate, b_gate, w_value, b_value)
    if separate:
        return elementwise.add_spatial(x, matmul(s, w_out, b_out), x, shortcut, None, None, x.dtype)
    return pointwise.added(s, w_out, b_out, _rows(x), shortcut).view(x.shape)


def _rows(x: Tensor) -> Tensor:
    """Return a map (B, H, W, C) as rows (B * H * W, C)."""
    return x.view(-1, x.shape[-1])


def _channel(x: Tensor, weights: Sequence[Tensor], w2: Tensor, b2: Tensor) -> Tensor:
    """Compute the channel branch of a folded block on (B, H, W, C)."""
    w1, b1, w_dw, b_dw, *_, subtracted = weights
    h = matmul(_rows(x), w1, b1).view(*x.shape[:3], -1)
    t = matmul(_rows(dwconv_gelu.forward(h, w_dw, b_dw)), w2, b2)
    return context.add_channel(x, t, subtracted, None, None, x.dtype, save_context=False)[0]


def prepared(
    spatial_weights: Sequence[Tensor], channel_weights: Sequence[Tensor], cache: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Return weights in the forms that kernels read; they are computed again after a weight has changed.

    Args:
        spatial_weights: Folded weights of the spatial branch.
        channel_weights: Folded weights of the channel branch.
        cache: Keep the result for the next call. While a CUDA graph is captured nothing is kept, since the memory
            belongs to the graph.

    Returns:
        The table of the multi-order convolution, and weight and bias of ``fc2`` extended by the context.
    """
    sources = [*spatial_weights[5:11], *channel_weights[4:8]]
    if any(source.is_inference() for source in sources):  # changes of inference tensors cannot be detected
        return _prepare(*sources)
    state = [(source.data_ptr(), compat.tensor_version(source)) for source in sources]
    cached = cache_of_weights.get(sources[0])
    if cached and cached[0] == state and all(a is b for a, b in zip(cached[1], sources[1:], strict=True)):
        return cached[2]
    made = _prepare(*sources)
    if cache and not (sources[0].is_cuda and torch.cuda.is_current_stream_capturing()):
        cache_of_weights[sources[0]] = state, sources[1:], made
    return made


def _prepare(*sources: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    *convs, w_context, b_context, w2, b2 = sources
    return multi_order.table_of(convs), *context.extended(w2, b2, w_context, b_context)
