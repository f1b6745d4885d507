"""ConvNeXt's block (arXiv 2201.03545), from timm."""

from timm.models.convnext import ConvNeXtBlock as TimmBlock

from .layer import MLP_RATIO, Layer, init_block


def convnext_block(layer: Layer) -> TimmBlock:
    """Return a block: depthwise 7x7, layer norm, an MLP of 1x1 convolutions, a layer scale that starts at 1e-6."""
    block = TimmBlock(layer.channels, mlp_ratio=MLP_RATIO, conv_mlp=True, drop_path=layer.drop_path)
    return block.apply(init_block)
