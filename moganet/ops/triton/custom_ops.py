"""The halves of a block on a GPU as PyTorch operators: what torch.compile and torch.export put into a graph."""

from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from ..autograd import flat
from . import channel, multi_order_kernels, spatial
from .context import PAD

FORWARD = '(Tensor x, Tensor normed, Tensor? mask, Tensor[] weights, int[] options) -> ({})'
BACKWARD = '(Tensor grad, Tensor normed, Tensor? mask, Tensor[] weights, Tensor[] kept, int[] options) -> Tensor[]'


def _register(name: str, half: ModuleType, kept_like: Callable) -> Callable:
    """``half`` as an operator that returns what it keeps, too."""

    def forward(x: Tensor, normed: Tensor, mask: Tensor | None, weights: list[Tensor], options: list[int]) -> tuple:
        kept = []
        with torch.cuda.device_of(x):
            out = half.forward(x, normed, mask, flat(weights), _unpacked(options), kept)
        return out, *kept

    def backward(
        grad: Tensor, normed: Tensor, mask: Tensor | None, weights: list[Tensor], kept: list[Tensor], options: list[int]
    ) -> list[Tensor]:
        with torch.cuda.device_of(grad):
            d, grads = half.backward(grad.contiguous(), normed, mask, flat(weights), _unpacked(options), kept)
        return [d, *(_alone(g.to(w.dtype).reshape(w.shape)) for g, w in zip(grads, weights, strict=True))]

    schema = FORWARD.format(', '.join(['Tensor'] * (half.KEPT + 1)))
    operator = torch.library.custom_op(f'moganet::{name}', forward, mutates_args=(), schema=schema)
    derived = torch.library.custom_op(f'moganet::{name}_backward', backward, mutates_args=(), schema=BACKWARD)

    @operator.register_fake
    def _(x: Tensor, normed: Tensor, mask: Tensor | None, weights: list[Tensor], options: list[int]) -> tuple:
        out = torch.empty_like(x, dtype=torch.promote_types(x.dtype, weights[0].dtype))
        return out, *kept_like(normed, weights)

    @derived.register_fake
    def _(
        grad: Tensor, normed: Tensor, mask: Tensor | None, weights: list[Tensor], kept: list[Tensor], options: list[int]
    ) -> list[Tensor]:
        return [torch.empty_like(normed), *(w.new_empty(w.shape) for w in weights)]

    def keep(ctx, inputs: tuple, output: tuple) -> None:
        _, normed, mask, weights, ctx.options = inputs
        kept = output[1:]
        ctx.mark_non_differentiable(*kept)
        ctx.count = len(weights)
        ctx.save_for_backward(normed, mask, *weights, *kept)

    def derive(ctx, grad: Tensor, *_: Tensor) -> tuple:
        normed, mask, *rest = ctx.saved_tensors
        d, *grads = derived(grad, normed, mask, rest[: ctx.count], rest[ctx.count :], ctx.options)
        # PyTorch takes an empty list for one of tensors, and asks for its gradients.
        return grad, d, None, grads, None if ctx.options else []

    operator.register_autograd(derive, setup_context=keep)
    return lambda options, x, normed, mask, weights: operator(x, normed, mask, list(weights), _packed(options))[0]


def _alone(x: Tensor) -> Tensor:
    """A tensor that shares no memory, as results of operators must be."""
    return x if x.untyped_storage().nbytes() == x.nbytes else x.clone()


def _packed(options: tuple) -> list[int]:
    """(double, dilations), or nothing."""
    return [int(options[0]), *options[1]] if options else []


def _unpacked(options: list[int]) -> tuple:
    return (bool(options[0]), tuple(options[1:])) if options else ()


def _spatial_kept(normed: Tensor, weights: list[Tensor]) -> list[Tensor]:
    batch, channels = normed.shape[0], normed.shape[-1]
    vectors = [normed.new_empty((batch, channels), dtype=torch.float32) for _ in range(3)]
    table = normed.new_empty((multi_order_kernels.TABLE_ROWS, channels), dtype=torch.float32)
    return [*(torch.empty_like(normed) for _ in range(4)), *vectors, table, normed.new_empty((channels, channels))]


def _channel_kept(normed: Tensor, weights: list[Tensor]) -> list[Tensor]:
    *sides, channels = normed.shape
    hidden = weights[1].shape[0]
    context = normed.new_empty(sides[0] * sides[1] * sides[2], dtype=torch.float32)
    last = normed.new_empty((channels + PAD, hidden))
    return [normed.new_empty((*sides, hidden)), context, last, weights[0].new_empty(channels)]


spatial_half = _register('spatial_half', spatial, _spatial_kept)
channel_half = _register('channel_half', channel, _channel_kept)
