"""HorNet's block (arXiv 2207.14284)."""

from timm.layers import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional as F

from moganet.layers import depthwise_conv

from .layer import Layer, init_block, scale, stochastic_depth

ORDER = 4
INIT_SCALE = 1e-6


class GatedConv(nn.Module):
    """Recursive gated convolution of order 4: C/8, C/4, C/2 and C channels, each gated by a depthwise 7x7 map.

    Args:
        channels: C, of the input and the output.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.dims = [channels // 2**i for i in reversed(range(ORDER))]
        self.proj_in = nn.Conv2d(channels, 2 * channels, 1)
        self.dwconv = depthwise_conv(sum(self.dims), 7)
        self.pws = nn.ModuleList(
            nn.Conv2d(inner, outer, 1) for inner, outer in zip(self.dims, self.dims[1:], strict=False)
        )
        self.proj_out = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Return maps of the shape of ``x``, (B, C, H, W)."""
        x, gates = self.proj_in(x).split((self.dims[0], sum(self.dims)), dim=1)
        first, *others = self.dwconv(gates).split(self.dims, dim=1)
        x = x * first
        for conv, gate in zip(self.pws, others, strict=True):
            x = conv(x) * gate
        return self.proj_out(x)


class HorNetBlock(nn.Module):
    """x + gamma1 * gated convolution(norm1(x)), then x + gamma2 * mlp(norm2(x)); layer norms over channels."""

    def __init__(self, layer: Layer) -> None:
        super().__init__()
        channels = layer.channels
        self.norm1 = LayerNorm2d(channels, eps=1e-6)
        self.gnconv = GatedConv(channels)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.pwconv1 = nn.Linear(channels, layer.hidden_channels)
        self.pwconv2 = nn.Linear(layer.hidden_channels, channels)
        self.drop_path = stochastic_depth(layer.drop_path)
        self.gamma1 = scale(channels, INIT_SCALE)
        self.gamma2 = scale(channels, INIT_SCALE)
        self.apply(init_block)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to maps (B, C, H, W)."""
        x = x + self.drop_path(self.gamma1[:, None, None] * self.gnconv(self.norm1(x)))
        y = self.norm2(x.permute(0, 2, 3, 1))
        y = self.gamma2 * self.pwconv2(F.gelu(self.pwconv1(y)))
        return x + self.drop_path(y.permute(0, 3, 1, 2))
