"""Half a block as one operation for autograd: by modules with ``forward`` and ``backward``, each device's own."""

import functools
from collections.abc import Callable, Sequence
from types import ModuleType

import torch
from torch import Tensor

from .torch import channel, spatial


def halves() -> tuple[Callable, Callable]:
    """``computed`` of the spatial and of the channel half on a CPU."""
    return functools.partial(computed, spatial), functools.partial(computed, channel)


def computed(
    half: ModuleType, options: tuple, x: Tensor, normed: Tensor, mask: Tensor | None, weights: tuple[Tensor, ...]
) -> Tensor:
    """x + mask * (what ``half`` makes of ``normed``), both maps (B, H, W, C) without gaps, the mask one per image.

    Args:
        half: ``spatial`` or ``channel`` of a device.
        options: What ``half`` asks for.
        weights: Parameters of the half, in its order, in the shapes that modules have them.
    """
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, normed, *weights)):
        return Half.apply(half, options, x, normed, mask, *weights)
    return half.forward(x, normed, mask, flat(weights), options, None)


def flat(weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """As halves read them: 1x1 convolutions (O, I), what there is one of per channel (C,), others (C, 1, k, k)."""
    return tuple(_flat(w).contiguous() for w in weights)


def _flat(w: Tensor) -> Tensor:
    if w.dim() == 1 or w.shape[-1] > 1:
        return w
    return w.flatten(1) if w.shape[0] > 1 else w.flatten()


class Half(torch.autograd.Function):
    """First derivatives only."""

    @staticmethod
    def forward(
        ctx, half: ModuleType, options: tuple, x: Tensor, normed: Tensor, mask: Tensor | None, *weights: Tensor
    ) -> Tensor:
        kept = []
        out = half.forward(x, normed, mask, flat(weights), options, kept)
        ctx.half, ctx.options, ctx.count = half, options, len(weights)
        ctx.save_for_backward(normed, mask, *weights, *kept)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad: Tensor) -> tuple:
        normed, mask, *rest = ctx.saved_tensors
        weights, kept = rest[: ctx.count], rest[ctx.count :]
        grad_normed, grads = ctx.half.backward(grad.contiguous(), normed, mask, flat(weights), ctx.options, kept)
        grads = (d if d.shape == w.shape else d.view(w.shape) for d, w in zip(grads, weights, strict=True))
        return None, None, grad, grad_normed, None, *grads
