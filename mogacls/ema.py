"""The moving average of the weights with the paper's warm-up of the decay."""

import torch
from mmengine.model import ExponentialMovingAverage
from mmengine.registry import MODELS
from torch import nn


@MODELS.register_module()
class WarmupEMA(ExponentialMovingAverage):
    """Exponential moving average whose decay rises exponentially, from 0.9 to 0.9999 by default (paper C.4).

    Used as ``dict(type='EMAHook', ema_type='WarmupEMA')``. The released weights were averaged at a constant decay of
    0.9999, so no recipe here uses it. The paper gives no length of the rise; the default is OpenMixup's 20 epochs of
    ImageNet-1K at a batch of 1024, over which it raises the decay linearly.

    Momentum is MMEngine's: 1 - decay. Before ``warmup_steps`` it is, at step t,
    start_momentum * (momentum / start_momentum) ** (t / warmup_steps).

    Args:
        model: The model to average.
        momentum: Momentum after the rise of the decay.
        start_momentum: Momentum at the first step.
        warmup_steps: Training iterations until ``momentum`` is reached.
        interval: Iterations between two updates.
        device: Where the averaged weights are kept; None is where the model is.
        update_buffers: Average buffers such as norm statistics too. False copies them.

    Raises:
        ValueError: a momentum outside 0 to 1, a ``start_momentum`` below ``momentum``, or no warm-up step.
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
        # Once per iteration: reading the counter waits for the GPU. ``steps`` is saved, so a resumed run goes on.
        progress = min(int(self.steps) / self.warmup_steps, 1.0)
        self.momentum = self.start_momentum * (self.end_momentum / self.start_momentum) ** progress
        super().update_parameters(model)
