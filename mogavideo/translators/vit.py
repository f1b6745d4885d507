"""ViT's block (arXiv 2010.11929), from timm, without position embedding."""

from timm.models.vision_transformer import Block
from torch import Tensor, nn

from .layer import MLP_RATIO, NUM_HEADS, Layer, init_block


class ViTBlock(Block):
    """Attention over all positions of a map, then an MLP, each after a layer norm. Each position is a token."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(
            layer.channels,
            NUM_HEADS,
            mlp_ratio=MLP_RATIO,
            qkv_bias=True,
            drop_path=layer.drop_path,
            norm_layer=nn.LayerNorm,  # eps 1e-5; timm's default is 1e-6
        )
        self.apply(init_block)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to maps (B, C, H, W)."""
        tokens = super().forward(x.flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).unflatten(2, x.shape[2:])
