"""ExPose's losses.

They sum over joints and coordinates and do not average: the recipes' learning rates and loss weights rely on it.
"""

import torch
from torch import Tensor, nn

from ..registry import MODELS

REDUCTIONS = ('none', 'mean', 'sum')


class ElementwiseLoss(nn.Module):
    """Base of losses that are computed for each element and then reduced.

    Args:
        reduction: 'sum', 'mean' or 'none'.
        loss_weight: Factor of the result.

    Raises:
        ValueError: The reduction is unknown.
    """

    def __init__(self, reduction: str = 'sum', loss_weight: float = 1.0) -> None:
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
        """Compute the loss of two tensors of one shape.

        Args:
            pred: The prediction, of any shape.
            target: The label, of the same shape.
            weight: Factor of each element's loss, broadcast to the shape of ``pred``.
            avg_factor: Divisor of a mean, instead of the number of elements.
            reduction_override: Used instead of ``reduction``.

        Returns:
            A scalar, or a tensor of the shape of ``pred`` with the reduction 'none'.

        Raises:
            ValueError: The shapes differ, the reduction is unknown, or ``avg_factor`` comes with a sum.
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
        """Return the loss of each element, of the same shape as ``difference`` (prediction minus target)."""
        raise NotImplementedError


@MODELS.register_module()
class L1Loss(ElementwiseLoss):
    """|pred - target|, see ``ElementwiseLoss``."""

    def distance(self, difference: Tensor) -> Tensor:
        """Return the absolute values."""
        return difference.abs()


@MODELS.register_module()
class MSELoss(ElementwiseLoss):
    """(pred - target)^2, see ``ElementwiseLoss``."""

    def distance(self, difference: Tensor) -> Tensor:
        """Return the squares."""
        return difference.square()


@MODELS.register_module()
class RotationDistance(nn.Module):
    """The angle between rotations, in radians: theta = acos((tr(Rp^T Rt) - 1) / 2), in float32 under autocast.

    Without weights the loss is the sum of all angles divided by the number of samples. With weights w it is
    sum(w theta) divided by the number of weights above zero, so that a weight of 0.5 throughout halves the loss.

    The cosine is clamped to [-1 + eps, 1 - eps]. Equal rotations in float32 are therefore 4.9e-4 rad apart and have no
    gradient.

    Args:
        reduction: Has no effect, as in MMHuman3D, whose configs set it.
        loss_weight: Factor of the result.
        eps: Margin of the clamp, also added to the number of weights.

    Raises:
        ValueError: The reduction is unknown.
    """

    def __init__(self, reduction: str = 'sum', loss_weight: float = 1.0, eps: float = 1e-7) -> None:
        super().__init__()
        _checked(reduction)
        self.loss_weight = loss_weight
        self.eps = eps

    def forward(self, pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Compute the loss of rotation matrices.

        Args:
            pred: (B, N, 3, 3), the prediction.
            target: (B, N, 3, 3), the label.
            weight: Weight of each angle, broadcast to (B, N).

        Returns:
            A scalar.

        Raises:
            ValueError: The shapes differ.
        """
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
    """Keeps betas within a margin: the mean of the squares (or absolute values) of the betas outside it.

    The whole value of such a beta counts, not only its excess over the margin.

    Args:
        margin: Largest absolute value without loss, in standard deviations of the shape.
        norm: 'l2' for squares, 'l1' for absolute values.
        loss_weight: Factor of the result.

    Raises:
        ValueError: The norm is unknown.
    """

    def __init__(self, margin: float = 3.0, norm: str = 'l2', loss_weight: float = 1.0) -> None:
        super().__init__()
        if norm not in ('l1', 'l2'):
            raise ValueError(f"norm={norm!r}: expected 'l1' or 'l2'")
        self.margin = margin
        self.norm = norm
        self.loss_weight = loss_weight

    def forward(self, betas: Tensor) -> Tensor:
        """Return the prior of betas (B, n) as a scalar."""
        outside = betas.abs() > self.margin
        size = betas.abs() if self.norm == 'l1' else betas.square()
        return self.loss_weight * (size * outside).sum() / (outside.sum() + 1e-7)


def _checked(reduction: str) -> str:
    if reduction not in REDUCTIONS:
        raise ValueError(f'reduction={reduction!r}: expected one of {", ".join(REDUCTIONS)}')
    return reduction
