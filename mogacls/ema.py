"""Moving average of the weights with the paper's warm-up of the decay."""

import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS
from torch import nn


@MODELS.register_module()
class WarmupEMA(ExponentialMovingAverage):
    """Exponential moving average whose decay rises exponentially, from 0.9 to 0.9999 by default (paper C.4).

    A config selects this average with ``dict(type='EMAHook', ema_type='WarmupEMA')``. No recipe here does, since the
    released weights were averaged at a constant decay of 0.9999. The paper gives no length of the warm-up. The default
    is OpenMixup's: 20 epochs of ImageNet-1K at a batch of 1024, though OpenMixup raises the decay linearly.

    Momentum is MMEngine's: 1 - decay. At a step t before ``warmup_steps``, momentum is
    start_momentum * (momentum / start_momentum) ** (t / warmup_steps).

    Args:
        model: The model to average.
        momentum: Momentum after the warm-up.
        start_momentum: Momentum at the first step.
        warmup_steps: Training iterations until ``momentum`` is reached.
        interval: Iterations between two updates.
        device: Device of the averaged weights; None stands for the model's device.
        update_buffers: Average buffers such as norm statistics too. False copies the buffers.

    Raises:
        ValueError: a momentum is outside (0, 1), ``start_momentum`` is below ``momentum``, or ``warmup_steps`` below 1.
    """

    def __init__(
        self,
        model: nn.Module,
        momentum: float = 1e-4,
        start_momentum: float = 0.1,
        warmup_steps: int = 20 * 1252,
        interval: int = 1,
        device: torch.device | None = None,
        update_buffers: bool = False,
    ) -> None:
        if not 0 < momentum <= start_momentum < 1:
            raise ValueError(
                f'momentum={momentum}, start_momentum={start_momentum}: expected 0 < momentum <= start_momentum < 1; '
                'momentum is 1 - decay'
            )
        if warmup_steps < 1:
            raise ValueError(f'warmup_steps={warmup_steps}: expected 1 or more')
        super().__init__(model, momentum, interval, device, update_buffers)
        self.end_momentum = momentum
        self.start_momentum = start_momentum
        self.warmup_steps = warmup_steps

    def update_parameters(self, model: nn.Module) -> None:
        """Update the average after an iteration, with the momentum of that iteration."""
        # Reading the counter waits for the GPU: read once per iteration. ``steps`` is in checkpoints, for resumed runs.
        progress = min(int(self.steps) / self.warmup_steps, 1.0)
        self.momentum = self.start_momentum * (self.end_momentum / self.start_momentum) ** progress
        super().update_parameters(model)
