"""Layers that the backbone shares with the translators of video prediction, and their initialisation."""

import math

from torch import Tensor, nn


class DropPath(nn.Module):
    """Stochastic depth: drops a branch per sample and scales the others by 1 / (1 - rate)."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Drop samples of ``x`` (B, C, H, W) while training."""
        if not self.training:
            return x
        keep = 1 - self.rate
        return x * x.new_empty((x.shape[0], 1, 1, 1)).bernoulli_(keep).div_(keep)

    def extra_repr(self) -> str:
        """Return the rate, for ``print(model)``."""
        return f'rate={self.rate:.3f}'


def depthwise_conv(channels: int, kernel_size: int, dilation: int = 1) -> nn.Conv2d:
    """Return a depthwise convolution that keeps the resolution.

    Args:
        channels: Number of channels.
        kernel_size: Side of the kernel, odd.
        dilation: Dilation of the kernel.
    """
    padding = kernel_size // 2 * dilation
    return nn.Conv2d(channels, channels, kernel_size, padding=padding, dilation=dilation, groups=channels)


def init_conv(module: nn.Module) -> None:
    """Initialise a convolution as the released classifier does: weights from N(0, 2 / fan_out), biases zero.

    Args:
        module: Any module; others than convolutions stay as they are.
    """
    if isinstance(module, nn.Conv2d):
        fan_out = module.kernel_size[0] * module.kernel_size[1] * module.out_channels // module.groups
        nn.init.normal_(module.weight, 0, math.sqrt(2 / fan_out))
        if module.bias is not None:
            nn.init.zeros_(module.bias)
