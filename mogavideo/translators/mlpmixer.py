"""MLP-Mixer's block (arXiv 2105.01601), from timm."""

from timm.models.mlp_mixer import MixerBlock
from torch import Tensor

from .layer import MLP_RATIO, Layer, init_block


class MLPMixerBlock(MixerBlock):
    """An MLP over positions, then one over channels. The shapes of its weights depend on the size of the maps."""

    def __init__(self, layer: Layer) -> None:
        height, width = layer.size
        super().__init__(layer.channels, height * width, mlp_ratio=(0.5, MLP_RATIO), drop_path=layer.drop_path)
        self.apply(init_block)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block to maps (B, C, H, W) of the size that it was built for."""
        tokens = super().forward(x.flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).unflatten(2, x.shape[2:])
