"""Swin's block (arXiv 2103.14030) with window attention from timm, without attention mask, as released with SimVP.

Without the mask, positions from opposite edges that the cyclic shift puts into one window attend to each other.
"""

import torch
from timm.layers import Mlp
from timm.models.swin_transformer import WindowAttention, window_partition, window_reverse
from torch import Tensor, nn

from .layer import NUM_HEADS, Layer, init_block, stochastic_depth


def window_side(size: tuple[int, int]) -> int:
    """Return the side of the square windows on maps of (H, W) = ``size``.

    The side is 7 if 7 divides H, else H / 16 limited to 4 to 8, and never larger than the map.
    """
    side = 7 if size[0] % 7 == 0 else min(8, max(4, size[0] // 16))
    return min(side, *size)


class SwinBlock(nn.Module):
    """Attention within windows, then an MLP. Every second block shifts the windows by half their side.

    The sides of the maps must be multiples of the window's side.
    """

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        self.window = window_side(layer.size)
        self.shift = self.window // 2 if layer.index % 2 and min(layer.size) > self.window else 0
        self.norm1 = nn.LayerNorm(layer.channels)
        self.attn = WindowAttention(layer.channels, NUM_HEADS, window_size=self.window)
        self.norm2 = nn.LayerNorm(layer.channels)
        self.mlp = Mlp(layer.channels, layer.hidden_channels)
        self.drop_path = stochastic_depth(layer.drop_path)
        self.apply(init_block)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to maps (B, C, H, W) that the windows divide."""
        x = x.permute(0, 2, 3, 1)
        x = x + self.drop_path(self._attend(self.norm1(x)))
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return x.permute(0, 3, 1, 2)

    def _attend(self, x: Tensor) -> Tensor:
        _, height, width, channels = x.shape
        window = (self.window, self.window)
        x = torch.roll(x, (-self.shift, -self.shift), dims=(1, 2))
        x = self.attn(window_partition(x, window).view(-1, self.window**2, channels))
        x = window_reverse(x.view(-1, *window, channels), window, height, width)
        return torch.roll(x, (self.shift, self.shift), dims=(1, 2))
