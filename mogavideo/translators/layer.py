"""Shared by the blocks of all translators: place in the network, stochastic depth, layer scale, initialisation."""

from dataclasses import dataclass

import torch
from timm.layers import DropPath
from torch import nn

from moganet.layers import init_conv

# Ratio of the hidden channels of a block's MLP to its channels: 8 in every released model.
MLP_RATIO = 8
NUM_HEADS = 8


@dataclass(frozen=True)
class Layer:
    """Place and sizes of a block in its translator.

    Args:
        index: Position in the sequence, from 0.
        channels: Channels of the block's input and output.
        out_channels: Channels of the next block. If these differ, a 1x1 convolution follows the block.
        size: (H, W) of the maps, for blocks whose parameters depend on the size.
        drop_path: Rate of stochastic depth.
    """

    index: int
    channels: int
    out_channels: int
    size: tuple[int, int]
    drop_path: float

    @property
    def hidden_channels(self) -> int:
        """Hidden channels of the block's MLP."""
        return self.channels * MLP_RATIO


def stochastic_depth(rate: float) -> nn.Module:
    """Return a module that drops a branch per sample, of maps or tokens: an identity at rate 0."""
    return DropPath(rate) if rate else nn.Identity()


def scale(channels: int, value: float) -> nn.Parameter:
    """Return a layer scale of shape (channels,), filled with ``value``."""
    return nn.Parameter(torch.full((channels,), value))


def init_block(module: nn.Module) -> None:
    """Initialise as the released code does most blocks: convolutions as in MogaNet, linear layers truncated normal."""
    init_conv(module)
    if isinstance(module, nn.Linear):
        init_truncated(module)


def init_truncated(module: nn.Module) -> None:
    """Initialise convolutions and linear layers: weights truncated normal of deviation 0.02, biases zero."""
    if isinstance(module, nn.Conv2d | nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
