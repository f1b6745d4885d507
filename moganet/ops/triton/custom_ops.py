"""The branches of a block on GPUs, also as PyTorch operators: torch.compile and torch.export put these into a graph."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..gradients import flat
from ..interface import Backward, Branch, Forward, Options
from . import channel, multi_order_kernels, spatial
from .context import PAD

FORWARD = '(Tensor x, Tensor normed, Tensor? mask, Tensor[] weights, int[] options) -> ({})'
BACKWARD = '(Tensor grad, Tensor normed, Tensor? mask, Tensor[] weights, Tensor[] saved, int[] options) -> Tensor[]'


def _branch(
    name: str, compute: Forward, differentiate: Backward, count: int, saved_like: Callable[..., list[Tensor]]
) -> Branch:
    """Return a branch whose passes run on the device of their maps, with its operator ``moganet::{name}``.

    Args:
        name: Name of the operator.
        compute: Forward pass.
        differentiate: Backward pass.
        count: Number of tensors that the forward pass saves.
        saved_like: Return empty tensors like those, given ``normed`` and the weights.
    """

    def forward(
        x: Tensor,
        normed: Tensor,
        mask: Tensor | None,
        weights: Sequence[Tensor],
        options: Options,
        saved: list[Tensor] | None,
    ) -> Tensor:
        with torch.cuda.device_of(x):
            return compute(x, normed, mask, weights, options, saved)

    def backward(
        grad: Tensor,
        normed: Tensor,
        mask: Tensor | None,
        weights: Sequence[Tensor],
        options: Options,
        saved: Sequence[Tensor],
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        with torch.cuda.device_of(grad):
            return differentiate(grad, normed, mask, weights, options, saved)

    def run(x: Tensor, normed: Tensor, mask: Tensor | None, weights: list[Tensor], options: list[int]) -> tuple:
        saved: list[Tensor] = []
        out = forward(x, normed, mask, flat(weights), unpacked(options), saved)
        return out, *saved

    schema = FORWARD.format(', '.join(['Tensor'] * (count + 1)))
    operator = torch.library.custom_op(f'moganet::{name}', run, mutates_args=(), schema=schema)
    derived = _backward_operator(name, backward)

    @operator.register_fake
    def _(x: Tensor, normed: Tensor, mask: Tensor | None, weights: list[Tensor], options: list[int]) -> tuple:
        out = torch.empty_like(x, dtype=torch.promote_types(x.dtype, weights[0].dtype))
        return out, *saved_like(normed, weights)

    def save(ctx: Any, inputs: tuple, output: tuple) -> None:
        _, normed, mask, weights, ctx.options = inputs
        saved = output[1:]
        ctx.mark_non_differentiable(*saved)
        ctx.count = len(weights)
        ctx.save_for_backward(normed, mask, *weights, *saved)

    def derive(ctx: Any, grad: Tensor, *_: Tensor) -> tuple:
        normed, mask, *rest = ctx.saved_tensors
        d, *grads = derived(grad, normed, mask, rest[: ctx.count], rest[ctx.count :], ctx.options)
        return grad, d, None, grads, None

    operator.register_autograd(derive, setup_context=save)

    def call(x: Tensor, normed: Tensor, mask: Tensor | None, weights: Sequence[Tensor], options: Options) -> Tensor:
        return operator(x, normed, mask, list(weights), packed(options))[0]

    return Branch(forward, backward, call)


def _backward_operator(name: str, backward: Backward) -> Callable[..., list[Tensor]]:
    """Return the operator ``moganet::{name}_backward``: gradients of ``normed`` and of the weights, in one list."""

    def run_backward(
        grad: Tensor,
        normed: Tensor,
        mask: Tensor | None,
        weights: list[Tensor],
        saved: list[Tensor],
        options: list[int],
    ) -> list[Tensor]:
        d, grads = backward(grad.contiguous(), normed, mask, flat(weights), unpacked(options), saved)
        return [d, *(_unshared(g.to(w.dtype).reshape(w.shape)) for g, w in zip(grads, weights, strict=True))]

    operator = torch.library.custom_op(f'moganet::{name}_backward', run_backward, mutates_args=(), schema=BACKWARD)

    @operator.register_fake
    def _(
        grad: Tensor,
        normed: Tensor,
        mask: Tensor | None,
        weights: list[Tensor],
        saved: list[Tensor],
        options: list[int],
    ) -> list[Tensor]:
        return [torch.empty_like(normed), *(w.new_empty(w.shape) for w in weights)]

    return operator


def _unshared(x: Tensor) -> Tensor:
    """Return a tensor that shares no memory, as results of operators must be."""
    return x if x.untyped_storage().nbytes() == x.nbytes else x.clone()


def packed(options: Options) -> list[int]:
    """Return the settings of a block as numbers, which operators take."""
    return [int(options.double_gate), *options.dilations]


def unpacked(options: list[int]) -> Options:
    """Return the settings that ``packed`` made numbers of."""
    return Options(bool(options[0]), tuple(options[1:]))


def _spatial_saved(normed: Tensor, weights: list[Tensor]) -> list[Tensor]:
    batch, channels = normed.shape[0], normed.shape[-1]
    vectors = [normed.new_empty((batch, channels), dtype=torch.float32) for _ in range(3)]
    table = normed.new_empty((multi_order_kernels.TABLE_ROWS, channels), dtype=torch.float32)
    return [*(torch.empty_like(normed) for _ in range(4)), *vectors, table, normed.new_empty((channels, channels))]


def _channel_saved(normed: Tensor, weights: list[Tensor]) -> list[Tensor]:
    *sides, channels = normed.shape
    hidden = weights[1].shape[0]
    context = normed.new_empty(sides[0] * sides[1] * sides[2], dtype=torch.float32)
    last = normed.new_empty((channels + PAD, hidden))
    return [normed.new_empty((*sides, hidden)), context, last, weights[0].new_empty(channels)]


SPATIAL = _branch('spatial_branch', spatial.forward, spatial.backward, spatial.SAVED, _spatial_saved)
CHANNEL = _branch('channel_branch', channel.forward, channel.backward, channel.SAVED, _channel_saved)
