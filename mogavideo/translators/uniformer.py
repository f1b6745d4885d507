"""UniFormer's two blocks (arXiv 2201.09450), with attention and MLP from timm."""

from timm.layers import Attention, Mlp
from torch import Tensor, nn

from moganet.layers import depthwise_conv

from .layer import NUM_HEADS, Layer, init_block, scale, stochastic_depth

INIT_SCALE = 1e-6


class ConvBlock(nn.Module):
    """The local block: a depthwise 5x5 between 1x1 convolutions, then an MLP of 1x1 convolutions; batch norms."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        channels = layer.channels
        self.pos_embed = depthwise_conv(channels, 3)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, channels, 1)
        self.attn = depthwise_conv(channels, 5)
        self.conv2 = nn.Conv2d(channels, channels, 1)
        self.norm2 = nn.BatchNorm2d(channels)
        self.mlp = Mlp(channels, layer.hidden_channels, use_conv=True)
        self.drop_path = stochastic_depth(layer.drop_path)
        self.apply(init_block)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to maps (B, C, H, W)."""
        x = x + self.pos_embed(x)
        x = x + self.drop_path(self.conv2(self.attn(self.conv1(self.norm1(x)))))
        return x + self.drop_path(self.mlp(self.norm2(x)))


class AttentionBlock(nn.Module):
    """The global block: attention over all positions, then an MLP; layer scales that start at 1e-6, layer norms."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        channels = layer.channels
        self.pos_embed = depthwise_conv(channels, 3)
        self.norm1 = nn.LayerNorm(channels)
        self.attn = Attention(channels, NUM_HEADS, qkv_bias=True)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels, layer.hidden_channels)
        self.drop_path = stochastic_depth(layer.drop_path)
        self.gamma_1 = scale(channels, INIT_SCALE)
        self.gamma_2 = scale(channels, INIT_SCALE)
        self.apply(init_block)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to maps (B, C, H, W)."""
        size = x.shape[2:]
        x = (x + self.pos_embed(x)).flatten(2).transpose(1, 2)
        x = x + self.drop_path(self.gamma_1 * self.attn(self.norm1(x)))
        x = x + self.drop_path(self.gamma_2 * self.mlp(self.norm2(x)))
        return x.transpose(1, 2).unflatten(2, size)


def uniformer_block(layer: Layer) -> nn.Module:
    """Return the local block for the first layer and where channels change, else the global block."""
    if layer.index == 0 or layer.channels != layer.out_channels:
        return ConvBlock(layer)
    return AttentionBlock(layer)
