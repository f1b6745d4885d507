"""A block by a backend: its weights and settings, and its two branches in turn on maps (B, H, W, C)."""

from typing import Protocol

import torch
from torch import Tensor, nn

from ..compat import HasChildren
from . import autograd
from .interface import Backend, Options


class Scale(Protocol):
    """``ElementScale`` of the backbone."""

    scale: nn.Parameter


class Value(Protocol):
    """``MultiOrderDWConv`` of the backbone."""

    DW_conv0: nn.Conv2d
    DW_conv1: nn.Conv2d
    DW_conv2: nn.Conv2d
    PW_conv: nn.Conv2d


class Spatial(Protocol):
    """``MultiOrderGatedAggregation`` of the backbone."""

    double_gate: bool
    proj_1: nn.Conv2d
    gate: nn.Conv2d
    proj_2: nn.Conv2d

    @property
    def sigma(self) -> Scale:
        """Return gamma_s."""

    @property
    def value(self) -> Value:
        """Return the value branch of the gate."""


class Channel(Protocol):
    """``ChannelAggregationFFN`` of the backbone."""

    fc1: nn.Conv2d
    dwconv: nn.Conv2d
    decompose: nn.Conv2d
    fc2: nn.Conv2d

    @property
    def sigma(self) -> Scale:
        """Return gamma_c."""


class Block(HasChildren, Protocol):
    """``MogaBlock`` of the backbone, which imports this package."""

    norm1: nn.BatchNorm2d
    norm2: nn.BatchNorm2d
    layer_scale_1: nn.Parameter
    layer_scale_2: nn.Parameter

    @property
    def attn(self) -> Spatial:
        """Return the spatial branch."""

    @property
    def mlp(self) -> Channel:
        """Return the channel branch."""

    @property
    def drop_path(self) -> nn.Module:
        """Return stochastic depth."""


def run(backend: Backend, block: Block, x: Tensor) -> Tensor:
    """Compute ``block(x)``.

    The norms are called. Stochastic depth is called on a map of ones, so that it draws the random numbers that it
    always draws.

    Args:
        backend: A backend that accepts the block.
        block: A ``MogaBlock``.
        x: (B, C, H, W).

    Returns:
        (B, C, H, W), channels-last, of the type that the modules return.
    """
    spatial, channel = backend.branches()
    options = options_of(block)
    x = x.contiguous(memory_format=torch.channels_last)
    for branch, norm, weights in (
        (spatial, block.norm1, spatial_weights(block)),
        (channel, block.norm2, channel_weights(block)),
    ):
        normed, mask = norm(x), _mask(block.drop_path, x)
        rows, normed = (t.permute(0, 2, 3, 1).contiguous() for t in (x, normed))
        x = autograd.compute(branch, rows, normed, mask, weights, options).permute(0, 3, 1, 2)
    return x


def _mask(drop_path: nn.Module, x: Tensor) -> Tensor | None:
    """Return the factors of stochastic depth (B, 1, 1, 1), or None where it does nothing."""
    if isinstance(drop_path, nn.Identity) or not drop_path.training:
        return None
    return drop_path(x.new_ones((len(x), 1, 1, 1), dtype=torch.promote_types(x.dtype, torch.float32)))


def spatial_weights(block: Block) -> tuple[Tensor, ...]:
    """Return the weights of the spatial branch, in the order of ``interface``."""
    attn = block.attn
    value = attn.value
    convs = (attn.gate, value.DW_conv0, value.DW_conv1, value.DW_conv2, value.PW_conv, attn.proj_2)
    return block.layer_scale_1, *_parameters(attn.proj_1), attn.sigma.scale, *_parameters(*convs)


def channel_weights(block: Block) -> tuple[Tensor, ...]:
    """Return the weights of the channel branch, in the order of ``interface``."""
    mlp = block.mlp
    before = _parameters(mlp.fc1, mlp.dwconv, mlp.decompose)
    return block.layer_scale_2, *before, mlp.sigma.scale, *_parameters(mlp.fc2)


def options_of(block: Block) -> Options:
    """Return the settings of a block."""
    value = block.attn.value
    dilations = tuple(conv.dilation[0] for conv in (value.DW_conv0, value.DW_conv1, value.DW_conv2))
    return Options(block.attn.double_gate, dilations)


def _parameters(*convs: nn.Conv2d) -> tuple[Tensor, ...]:
    return tuple(p for conv in convs for p in (conv.weight, conv.bias) if p is not None)
