"""ExPose's losses. Sums over joints and coordinates, not means: the recipes' rates and weights rely on it."""

import torch
from torch import Tensor, nn

from ..registry import MODELS

REDUCTIONS = ('none', 'mean', 'sum')


class ElementwiseLoss(nn.Module):
    """A loss of each number by itself.

    Args:
        reduction: 'sum', 'mean' or 'none'.
        loss_weight: Multiplies the result.
    """

    def __init__(self, reduction: str = 'sum', loss_weight: float = 1.0):
        super().__init__()
        self.reduction = _checked(reduction)
        self.loss_weight = loss_weight

    def forward(
        self,
        pred: Tensor,
        target: Tensor,
        weight: Tensor | None = None,
        avg_factor: float | None = None,
        reduction_override: str | None = None,
    ) -> Tensor:
        """Compare two tensors of one shape.

        Args:
            weight: Broadcast over ``pred``; multiplies each number's loss.
            avg_factor: What a mean divides by, in the place of the number of numbers.
            reduction_override: In the place of ``reduction``.

        Raises:
            ValueError: shapes that differ, or ``avg_factor`` with a sum.
        """
        reduction = self.reduction if reduction_override is None else _checked(reduction_override)
        if pred.shape != target.shape:
            raise ValueError(f'prediction {tuple(pred.shape)} and target {tuple(target.shape)} differ in shape')
        if avg_factor is not None and reduction == 'sum':
            raise ValueError("avg_factor divides a mean: expected reduction='mean'")
        loss = self.distance(pred - target)
        loss = loss if weight is None else loss * weight
        if reduction == 'sum':
            loss = loss.sum()
        elif reduction == 'mean':
            loss = loss.mean() if avg_factor is None else loss.sum() / avg_factor
        return self.loss_weight * loss

    def distance(self, difference: Tensor) -> Tensor:
        raise NotImplementedError


@MODELS.register_module()
class L1Loss(ElementwiseLoss):
    """|pred - target|."""

    def distance(self, difference: Tensor) -> Tensor:
        return difference.abs()


@MODELS.register_module()
class MSELoss(ElementwiseLoss):
    """(pred - target)^2."""

    def distance(self, difference: Tensor) -> Tensor:
        return difference.square()


@MODELS.register_module()
class RotationDistance(nn.Module):
    """The angle between rotations, in radians: theta = acos((tr(Rp^T Rt) - 1) / 2), in float32 under autocast.

    Without weights the sum of all angles over the number of samples; with weights sum(w theta) over the number of
    weights above zero. A weight scales the value too: 0.5 throughout halves it. Near the ends the cosine is clamped by
    ``eps``, so that equal rotations in float32 are 4.9e-4 rad apart, and have no gradient.

    Args:
        reduction: Changes nothing, as in MMHuman3D, whose configs set it.
        loss_weight: Multiplies the result.
        eps: See above.
    """

    def __init__(self, reduction: str = 'sum', loss_weight: float = 1.0, eps: float = 1e-7):
        super().__init__()
        _checked(reduction)
        self.loss_weight = loss_weight
        self.eps = eps

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compare rotation matrices (B, N, 3, 3); ``weight`` is broadcast over (B, N)."""
        if pred.shape != target.shape:
            raise ValueError(f'prediction {tuple(pred.shape)} and target {tuple(target.shape)} differ in shape')
        with torch.autocast(pred.device.type, enabled=False):
            pred, target = (x if x.dtype == torch.float64 else x.float() for x in (pred, target))
            cosine = ((pred * target).sum((-2, -1)) - 1) / 2
            angle = torch.acos(cosine.clamp(-1 + self.eps, 1 - self.eps))
            if weight is None:
                return self.loss_weight * angle.sum() / max(len(angle), 1)
            weight = weight.to(angle).expand_as(angle)
            return self.loss_weight * (weight * angle).sum() / ((weight > 0).sum() + self.eps)


@MODELS.register_module(name=['ShapeThresholdPriorLoss', 'ThresholdPrior'])
class ShapeThresholdPriorLoss(nn.Module):
    """Holds betas within a margin: the mean over those outside of all that they are, not of what they exceed it by.

    Args:
        margin: In standard deviations of the shape.
        norm: 'l2' for squares, 'l1' for absolute values.
        loss_weight: Multiplies the result.
    """

    def __init__(self, margin: float = 3.0, norm: str = 'l2', loss_weight: float = 1.0):
        super().__init__()
        if norm not in ('l1', 'l2'):
            raise ValueError(f"norm={norm!r}: expected 'l1' or 'l2'")
        self.margin = margin
        self.norm = norm
        self.loss_weight = loss_weight

    def forward(self, betas: Tensor) -> Tensor:
        """The prior of betas (B, n), all of them together."""
        outside = betas.abs() > self.margin
        size = betas.abs() if self.norm == 'l1' else betas.square()
        return self.loss_weight * (size * outside).sum() / (outside.sum() + 1e-7)


def _checked(reduction: str) -> str:
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction={reduction!r}: expected one of {", ".join(REDUCTIONS)}')
    return reduction
