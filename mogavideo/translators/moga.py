"""MogaNet's block (arXiv 2211.03295), from ``moganet.backbone``."""

from moganet.backbone import MogaBlock
from moganet.layers import init_conv

from .layer import MLP_RATIO, Layer


def moga_block(layer: Layer) -> MogaBlock:
    """Return a block of multi-order gated aggregation and channel aggregation, as in stages 1 to 3 of the backbone."""
    block = MogaBlock(layer.channels, MLP_RATIO, layer.drop_path, (1, 2, 3), 'single')
    return block.apply(init_conv)
