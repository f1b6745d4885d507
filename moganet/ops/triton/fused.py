"""A folded block on a GPU: 1x1 convolutions as matrix products, and between them our kernels. No derivatives."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ..interface import Options
from . import context, dwconv_gelu, elementwise, multi_order, pointwise
from .matmul import matmul

# By a weight of each block: what its kernels read in another form than it is kept in, and what that was made of.
_prepared = WeakTensorKeyDictionary()


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
    w_in, b_in, mean, w_gate, b_gate, *_, w_value, b_value, w_out, b_out, shortcut = weights
    q = matmul(_rows(x), w_in).view(x.shape)
    u = elementwise.decomposed(q, b_in, mean)
    m = multi_order.forward(u, table, options.dilations)
    apart = x.dtype is torch.float32  # which cuBLAS multiplies faster than our kernels
    if apart or options.double_gate:
        s = elementwise.gated(matmul(_rows(u), w_gate, b_gate), matmul(_rows(m), w_value, b_value), options.double_gate)
    else:
        s = pointwise.gated(_rows(u), _rows(m), w_gate, b_gate, w_value, b_value)
    if apart:
        return elementwise.add_spatial(x, matmul(s, w_out, b_out), x, shortcut, None, None, x.dtype)
    return pointwise.added(s, w_out, b_out, _rows(x), shortcut).view(x.shape)


def _rows(x: Tensor) -> Tensor:
    return x.view(-1, x.shape[-1])


def _channel(x: Tensor, weights: Sequence[Tensor], w2: Tensor, b2: Tensor) -> Tensor:
    w1, b1, w_dw, b_dw, *_, subtracted = weights
    h = matmul(_rows(x), w1, b1).view(*x.shape[:3], -1)
    t = matmul(_rows(dwconv_gelu.forward(h, w_dw, b_dw)), w2, b2)
    return context.add_channel(x, t, subtracted, None, None, x.dtype, keep=False)[0]


def prepared(
    spatial_weights: Sequence[Tensor], channel_weights: Sequence[Tensor], cache: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """The table of the depthwise convolutions, and the last product with the context's row, weight and bias.

    Made anew when a weight has changed. They are not cached while a CUDA graph is captured:
    its memory is its own.
    """
    sources = [*spatial_weights[5:11], *channel_weights[4:8]]
    if any(source.is_inference() for source in sources):  # whether these have changed cannot be told
        return _prepare(*sources)
    state = [(source.data_ptr(), source._version) for source in sources]
    known = _prepared.get(sources[0])
    if known and known[0] == state and all(a is b for a, b in zip(known[1], sources[1:], strict=True)):
        return known[2]
    made = _prepare(*sources)
    if cache and not (sources[0].is_cuda and torch.cuda.is_current_stream_capturing()):
        _prepared[sources[0]] = state, sources[1:], made
    return made


def _prepare(*sources: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    *convs, w_context, b_context, w2, b2 = sources
    return multi_order.table_of(convs), *context.extended(w2, b2, w_context, b_context)
