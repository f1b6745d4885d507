"""ConvMixer's block (arXiv 2201.09792). The block has no MLP and no stochastic depth."""

from torch import Tensor, nn
from torch.nn import functional as F

from moganet.layers import init_conv

from .layer import Layer


class ConvMixerBlock(nn.Module):
    """x + norm(GELU(depthwise 11x11)), then norm(GELU(1x1)) without a shortcut; batch norms."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        channels = layer.channels
        # The release writes 'same' for padding 5. fvcore does not count such convolutions, nor do the paper's digits.
        self.conv_dw = nn.Conv2d(channels, channels, 11, padding='same', groups=channels)
        self.norm_1 = nn.BatchNorm2d(channels)
        self.conv_pw = nn.Conv2d(channels, channels, 1)
        self.norm_2 = nn.BatchNorm2d(channels)
        self.apply(init_conv)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to maps (B, C, H, W)."""
        x = x + self.norm_1(F.gelu(self.conv_dw(x)))
        return self.norm_2(F.gelu(self.conv_pw(x)))
