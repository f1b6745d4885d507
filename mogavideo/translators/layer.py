"""What all translators' blocks share: where they stand, and how they start."""

from dataclasses import dataclass

import torch
from timm.layers import DropPath
from torch import nn

from moganet.backbone import init_conv

# Hidden channels of a block's channel mixing over its channels: 8 in every released model.
MLP_RATIO = 8
NUM_HEADS = 8


@dataclass(frozen=True)
class Layer:
    """Where a block stands in its translator.

    Args:
        index: 0 for the first.
        channels: Of the block, in and out.
        out_channels: What a 1x1 convolution makes of them after the block, where they differ.
        size: (H, W) of the maps, for blocks whose parameters depend on it.
        drop_path: Rate of stochastic depth.
    """

    index: int
    channels: int
    out_channels: int
    size: tuple[int, int]
    drop_path: float

    @property
    def hidden_channels(self) -> int:
        return self.channels * MLP_RATIO


def stochastic_depth(rate: float) -> nn.Module:
    """Drops a branch per sample, for maps and tokens alike."""
    return DropPath(rate) if rate else nn.Identity()


def scale(channels: int, value: float) -> nn.Parameter:
    """A LayerScale of (C,)."""
    return nn.Parameter(torch.full((channels,), value))


def init_block(module: nn.Module) -> None:
    """The release's start of most blocks: convolutions as in MogaNet, linear layers truncated normal."""
    init_conv(module)
    if isinstance(module, nn.Linear):
        init_truncated(module)


def init_truncated(module: nn.Module) -> None:
    """Weights of convolutions and linear layers from a normal of deviation 0.02 that is cut, biases zero."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)
