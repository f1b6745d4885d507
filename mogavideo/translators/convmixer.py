"""ConvMixer's block (arXiv 2201.09792). It has no MLP and no stochastic depth."""

from torch import Tensor, nn
from torch.nn import functional as F

from moganet.backbone import init_conv

from .layer import Layer


class ConvMixerBlock(nn.Module):
    """x + norm(GELU(depthwise 11x11)), then norm(GELU(1x1)) without a shortcut; batch norms."""

    def __init__(self, layer: Layer):
        super().__init__()
        channels = layer.channels
        # As the release writes padding 5, which fvcore's counter does not see: the paper's digits are without it.
        self.conv_dw = nn.Conv2d(channels, channels, 11, padding='same', groups=channels)
        self.norm_1 = nn.BatchNorm2d(channels)
        self.conv_pw = nn.Conv2d(channels, channels, 1)
        self.norm_2 = nn.BatchNorm2d(channels)
        self.apply(init_conv)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.norm_1(F.gelu(self.conv_dw(x)))
        return self.norm_2(F.gelu(self.conv_pw(x)))
