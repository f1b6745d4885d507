"""Plain network: the paper's MogaNet written a second time, of PyTorch's layers alone.

It is a baseline of speed and an independent check of values. It shares no code with ``backbone.py``, but its parameters
have the same names, so that the same weights fit both.
"""

import torch
from torch import Tensor, nn

from ..arch import resolve_arch


class Scale(nn.Module):
    """Learned factor per channel."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.full((1, channels, 1, 1), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        """Scale (B, C, H, W)."""
        return x * self.scale


class Value(nn.Module):
    """Multi-order depthwise convolutions: three groups of channels with dilations 1, 2 and 3."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.sizes = [c - c * 3 // 8 - c // 2, c * 3 // 8, c // 2]
        _, middle, high = self.sizes
        self.DW_conv0 = nn.Conv2d(c, c, 5, padding=2, groups=c)
        self.DW_conv1 = nn.Conv2d(middle, middle, 5, padding=4, dilation=2, groups=middle)
        self.DW_conv2 = nn.Conv2d(high, high, 7, padding=9, dilation=3, groups=high)
        self.PW_conv = nn.Conv2d(c, c, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        low, middle, high = torch.split(self.DW_conv0(x), self.sizes, dim=1)
        return self.PW_conv(torch.cat([low, self.DW_conv1(middle), self.DW_conv2(high)], dim=1))


class Attention(nn.Module):
    """Spatial branch: multi-order gated aggregation with its residual connection."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.proj_1, self.gate, self.proj_2 = (nn.Conv2d(c, c, 1) for _ in range(3))
        self.value = Value(c)
        self.sigma = Scale(c)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.act = nn.SiLU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        y = self.proj_1(x)
        y = self.act(y + self.sigma(y - self.pool(y)))
        return x + self.proj_2(self.act(self.gate(y)) * self.act(self.value(y)))


class FeedForward(nn.Module):
    """Channel branch: feed-forward network with channel aggregation."""

    def __init__(self, c: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Conv2d(c, hidden, 1)
        self.dwconv = nn.Conv2d(hidden, hidden, 3, padding=1, groups=hidden)
        self.decompose = nn.Conv2d(hidden, 1, 1)
        self.sigma = Scale(hidden)
        self.fc2 = nn.Conv2d(hidden, c, 1)
        self.act = nn.GELU()

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        y = self.act(self.dwconv(self.fc1(x)))
        return self.fc2(y + self.sigma(y - self.act(self.decompose(y))))


class Block(nn.Module):
    """Block of both branches, each behind a norm and with a layer scale."""

    def __init__(self, c: int, hidden: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.BatchNorm2d(c), nn.BatchNorm2d(c)
        self.attn, self.mlp = Attention(c), FeedForward(c, hidden)
        self.layer_scale_1, self.layer_scale_2 = (nn.Parameter(torch.full((1, c, 1, 1), 1e-5)) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, C, H, W) to the same shape."""
        x = x + self.layer_scale_1 * self.attn(self.norm1(x))
        return x + self.layer_scale_2 * self.mlp(self.norm2(x))


class Embed(nn.Module):
    """Downsampling at the start of a stage: by 4 in the stem, by 2 in the later stages."""

    def __init__(self, before: int, c: int, stem: bool) -> None:
        super().__init__()
        self.projection: nn.Module
        self.norm: nn.Module
        if stem:
            half = c // 2
            self.projection = nn.Sequential(
                nn.Conv2d(before, half, 3, 2, 1),
                nn.BatchNorm2d(half),
                nn.GELU(),
                nn.Conv2d(half, c, 3, 2, 1),
                nn.BatchNorm2d(c),
            )
            self.norm = nn.Identity()
        else:
            self.projection = nn.Conv2d(before, c, 3, 2, 1)
            self.norm = nn.BatchNorm2d(c)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, before, H, W) to (B, c, H/4, W/4) in the stem, else to (B, c, H/2, W/2)."""
        return self.norm(self.projection(x))


class PlainMogaNet(nn.Module):
    """MogaNet of a size, without stochastic depth.

    Args:
        arch: A size as in ``MogaNet``.
    """

    def __init__(self, arch: str | dict) -> None:
        super().__init__()
        before, row = 3, resolve_arch(arch)
        for i, (c, depth, ratio) in enumerate(
            zip(row['embed_dims'], row['depths'], row['ffn_ratios'], strict=True), start=1
        ):
            setattr(self, f'patch_embed{i}', Embed(before, c, stem=i == 1))
            setattr(self, f'blocks{i}', nn.Sequential(*(Block(c, int(c * ratio)) for _ in range(depth))))
            setattr(self, f'norm{i}', nn.BatchNorm2d(c))
            before = c

    def forward(self, x: Tensor) -> Tensor:
        """Return the last map, (B, C, H/32, W/32), of images (B, 3, H, W)."""
        for i in range(1, 5):
            x = getattr(self, f'norm{i}')(getattr(self, f'blocks{i}')(getattr(self, f'patch_embed{i}')(x)))
        return x
