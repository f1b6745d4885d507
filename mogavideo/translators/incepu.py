"""IncepU, the translator of SimVP v1 (arXiv 2206.05099): inception blocks with skip connections, at one resolution."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from moganet.activation_checkpointing import checkpointed

KERNELS = (3, 5, 7, 11)
GROUPS = 8


class GroupConv(nn.Module):
    """A convolution in 8 groups, group norm, leaky ReLU."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size, padding=kernel_size // 2, groups=GROUPS)
        self.norm = nn.GroupNorm(GROUPS, out_channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (B, out_channels, H, W) from maps (B, in_channels, H, W)."""
        return F.leaky_relu(self.norm(self.conv(x)), 0.2)


class InceptionBlock(nn.Module):
    """A 1x1 convolution, then the sum of one group convolution per kernel size."""

    def __init__(self, in_channels: int, hidden_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, hidden_channels, 1)
        self.layers = nn.ModuleList(GroupConv(hidden_channels, out_channels, kernel) for kernel in KERNELS)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (B, out_channels, H, W) from maps (B, in_channels, H, W)."""
        x = self.conv1(x)
        return sum(layer(x) for layer in self.layers)


class IncepU(nn.Module):
    """An encoder and a decoder of ``depth`` blocks each, with skip connections between mirrored blocks.

    Each decoder block but the first reads the output of the mirrored encoder block too, concatenated.

    Args:
        channels: Frames times channels per frame, of the input and the output.
        hidden: Channels between the blocks. A block has half as many inside.
        depth: Blocks of the encoder, and of the decoder.
        with_cp: Activation checkpointing, see ``SimVP``.
    """

    def __init__(self, channels: int, hidden: int, depth: int, with_cp: bool) -> None:
        super().__init__()
        self.with_cp = with_cp
        down = [channels] + [hidden] * (depth - 1)
        self.enc = nn.ModuleList(InceptionBlock(inner, hidden // 2, hidden) for inner in down)
        up = [hidden] + [2 * hidden] * (depth - 1)
        ends = [hidden] * (depth - 1) + [channels]
        self.dec = nn.ModuleList(
            InceptionBlock(inner, hidden // 2, outer) for inner, outer in zip(up, ends, strict=True)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape of ``x``, (B, channels, H, W)."""
        skips = []
        for block in self.enc:
            x = self._run(block, x)
            skips.append(x)
        skips.pop()
        x = self._run(self.dec[0], x)
        for block in self.dec[1:]:
            x = self._run(block, torch.cat((x, skips.pop()), dim=1))
        return x

    def _run(self, block: nn.Module, x: Tensor) -> Tensor:
        return checkpointed(block, x) if self.with_cp and torch.is_grad_enabled() else block(x)
