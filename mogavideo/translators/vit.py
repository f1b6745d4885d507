"""ViT's block (arXiv 2010.11929), timm's, without position embedding."""

from timm.models.vision_transformer import Block
from torch import Tensor, nn

from .layer import MLP_RATIO, NUM_HEADS, Layer, init_block


class ViTBlock(Block):
    """Attention over all positions of a map, each a token, then an MLP, both after a layer norm."""

    def __init__(self, layer: Layer):
        super().__init__(
            layer.channels,
            NUM_HEADS,
            mlp_ratio=MLP_RATIO,
            qkv_bias=True,
            drop_path=layer.drop_path,
            norm_layer=nn.LayerNorm,  # eps 1e-5; timm's own has 1e-6
        )
        self.apply(init_block)

    def forward(self, x: Tensor) -> Tensor:
        tokens = super().forward(x.flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).unflatten(2, x.shape[2:])
