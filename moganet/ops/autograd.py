"""A branch of a block as one operation for autograd, with the backend's own backward pass."""

from typing import Any

import torch
from torch import Tensor

from .gradients import flat
from .interface import Branch, Options


def compute(
    branch: Branch,
    x: Tensor,
    normed: Tensor,
    mask: Tensor | None,
    weights: tuple[Tensor, ...],
    options: Options,
) -> Tensor:
    """Return x + mask * branch(normed).

    Under autocast, the branch computes in the type of autocast.

    Args:
        branch: The branch of a backend.
        x: The residual (B, H, W, C), contiguous.
        normed: The normalised input (B, H, W, C), contiguous.
        mask: Factors of stochastic depth (B, 1, 1, 1), or None.
        weights: Parameters in the order of ``interface``, in the shapes that the modules give them.
        options: Settings of the block.
    """
    device = x.device.type
    if torch.is_autocast_enabled(device):
        normed = normed.to(torch.get_autocast_dtype(device))
        with torch.autocast(device, enabled=False):
            return _compute(branch, x, normed, mask, weights, options)
    return _compute(branch, x, normed, mask, weights, options)


def _compute(
    branch: Branch,
    x: Tensor,
    normed: Tensor,
    mask: Tensor | None,
    weights: tuple[Tensor, ...],
    options: Options,
) -> Tensor:
    if branch.operator is not None and torch.compiler.is_compiling():
        return branch.operator(x, normed, mask, weights, options)
    if torch.is_grad_enabled() and any(t.requires_grad for t in (x, normed, *weights)):
        return BranchFunction.apply(branch, options, x, normed, mask, *weights)
    return branch.forward(x, normed, mask, flat(weights), options, None)


class BranchFunction(torch.autograd.Function):
    """A branch with its backward pass. It has first derivatives only."""

    @staticmethod
    def forward(
        ctx: Any, branch: Branch, options: Options, x: Tensor, normed: Tensor, mask: Tensor | None, *weights: Tensor
    ) -> Tensor:
        """Compute the branch and save what its backward pass needs.

        Args:
            ctx: Context of autograd.
            branch: The branch of a backend.
            options: Settings of the block.
            x: The residual (B, H, W, C).
            normed: The normalised input (B, H, W, C).
            mask: Factors of stochastic depth (B, 1, 1, 1), or None.
            weights: Parameters in the shapes that the modules give them.
        """
        saved: list[Tensor] = []
        out = branch.forward(x, normed, mask, flat(weights), options, saved)
        ctx.branch, ctx.options, ctx.count = branch, options, len(weights)
        ctx.save_for_backward(normed, mask, *weights, *saved)
        return out

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple:
        """Return the gradients of the arguments of ``forward``, None for those that are no tensors or a mask.

        Args:
            ctx: Context of autograd.
            grad: Gradient of the output (B, H, W, C).
        """
        normed, mask, *rest = ctx.saved_tensors
        weights, saved = rest[: ctx.count], rest[ctx.count :]
        grad_normed, grads = ctx.branch.backward(grad.contiguous(), normed, mask, flat(weights), ctx.options, saved)
        grads = (d if d.shape == w.shape else d.view(w.shape) for d, w in zip(grads, weights, strict=True))
        return None, None, grad, grad_normed, None, *grads
