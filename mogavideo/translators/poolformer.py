"""PoolFormer's block (arXiv 2111.11418), with an MLP from timm."""

from timm.layers import Mlp
from torch import Tensor, nn
from torch.nn import functional as F

from .layer import Layer, init_truncated, scale, stochastic_depth

INIT_SCALE = 1e-5


class PoolFormerBlock(nn.Module):
    """x + ls1 * (mean3x3(y) - y) with y = norm1(x), then x + ls2 * mlp(norm2(x)); group norms of one group."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        channels = layer.channels
        self.norm1 = nn.GroupNorm(1, channels)
        self.norm2 = nn.GroupNorm(1, channels)
        self.mlp = Mlp(channels, layer.hidden_channels, use_conv=True)
        self.drop_path = stochastic_depth(layer.drop_path)
        self.layer_scale_1 = scale(channels, INIT_SCALE)
        self.layer_scale_2 = scale(channels, INIT_SCALE)
        self.apply(init_truncated)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to maps (B, C, H, W)."""
        y = self.norm1(x)
        y = F.avg_pool2d(y, 3, stride=1, padding=1, count_include_pad=False) - y
        x = x + self.drop_path(self.layer_scale_1[:, None, None] * y)
        return x + self.drop_path(self.layer_scale_2[:, None, None] * self.mlp(self.norm2(x)))
