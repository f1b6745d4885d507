"""VAN's block (arXiv 2202.09741) and, with a gate in its attention, gSTA's (SimVPv2, arXiv 2211.12509)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moganet.layers import depthwise_conv

from .layer import Layer, init_block, scale, stochastic_depth

INIT_SCALE = 1e-2


class LargeKernelAttention(nn.Module):
    """A 21x21 kernel as three convolutions: depthwise 5x5, depthwise 7x7 with dilation 3, 1x1.

    Args:
        channels: Channels of the input and the output.
        gated: False multiplies the input by the result (VAN). True computes two maps and multiplies the first by the
            sigmoid of the second (gSTA).
    """

    def __init__(self, channels: int, gated: bool) -> None:
        super().__init__()
        self.gated = gated
        self.conv0 = depthwise_conv(channels, 5)
        self.conv_spatial = depthwise_conv(channels, 7, dilation=3)
        self.conv1 = nn.Conv2d(channels, 2 * channels if gated else channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return the attended maps, of the shape of ``x``, (B, C, H, W)."""
        attention = self.conv1(self.conv_spatial(self.conv0(x)))
        if not self.gated:
            return x * attention
        value, gate = attention.chunk(2, dim=1)
        return value * torch.sigmoid(gate)


class SpatialAttention(nn.Module):
    """1x1, GELU, large-kernel attention, 1x1, with a shortcut around all four."""

    def __init__(self, channels: int, gated: bool) -> None:
        super().__init__()
        self.proj_1 = nn.Conv2d(channels, channels, 1)
        self.spatial_gating_unit = LargeKernelAttention(channels, gated)
        self.proj_2 = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of the shape of ``x``, (B, C, H, W)."""
        return x + self.proj_2(self.spatial_gating_unit(F.gelu(self.proj_1(x))))


class MixMlp(nn.Module):
    """1x1, depthwise 3x3, GELU, 1x1."""

    def __init__(self, channels: int, hidden_channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(channels, hidden_channels, 1)
        self.dwconv = nn.ModuleDict({'dwconv': depthwise_conv(hidden_channels, 3)})
        self.fc2 = nn.Conv2d(hidden_channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of the shape of ``x``, (B, C, H, W)."""
        return self.fc2(F.gelu(self.dwconv['dwconv'](self.fc1(x))))


class VANBlock(nn.Module):
    """x + ls1 * attention(norm1(x)), then x + ls2 * mlp(norm2(x)); batch norms."""

    gated = False

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        channels = layer.channels
        self.norm1 = nn.BatchNorm2d(channels)
        self.attn = SpatialAttention(channels, self.gated)
        self.norm2 = nn.BatchNorm2d(channels)
        self.mlp = MixMlp(channels, layer.hidden_channels)
        self.drop_path = stochastic_depth(layer.drop_path)
        self.layer_scale_1 = scale(channels, INIT_SCALE)
        self.layer_scale_2 = scale(channels, INIT_SCALE)
        self.apply(init_block)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to maps (B, C, H, W)."""
        x = x + self.drop_path(self.layer_scale_1[:, None, None] * self.attn(self.norm1(x)))
        return x + self.drop_path(self.layer_scale_2[:, None, None] * self.mlp(self.norm2(x)))
