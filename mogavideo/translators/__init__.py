"""Translators of SimVP: networks from the features of the input frames to the features of the predicted frames.

A translator maps (B, T * C, H, W), the features of T frames stacked along the channels, to the same shape. IncepU is a
network with skip connections. The other eleven are ``MetaNet`` with a block of their family, one file per family.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from moganet.activation_checkpointing import checkpointed

from .convmixer import ConvMixerBlock
from .convnext import convnext_block
from .gsta import GSTABlock
from .hornet import HorNetBlock
from .incepu import GROUPS, IncepU
from .layer import Layer
from .mlpmixer import MLPMixerBlock
from .moga import moga_block
from .poolformer import PoolFormerBlock
from .swin import SwinBlock, window_side
from .uniformer import uniformer_block
from .van import VANBlock
from .vit import ViTBlock

BLOCKS: dict[str, Callable[[Layer], nn.Module]] = {
    'moganet': moga_block,
    'gsta': GSTABlock,
    'vit': ViTBlock,
    'swin': SwinBlock,
    'uniformer': uniformer_block,
    'mlpmixer': MLPMixerBlock,
    'convmixer': ConvMixerBlock,
    'poolformer': PoolFormerBlock,
    'convnext': convnext_block,
    'van': VANBlock,
    'hornet': HorNetBlock,
}
TRANSLATORS = (*BLOCKS, 'incepu')
# Stochastic depth of the first block, for any rate of the last one.
FIRST_DROP_PATH = 0.01


class MetaLayer(nn.Module):
    """A block, then a 1x1 convolution if the next block has another number of channels.

    Args:
        name: A key of ``BLOCKS``.
        layer: Place and sizes of the block.
    """

    reduction: nn.Module

    def __init__(self, name: str, layer: Layer) -> None:
        super().__init__()
        self.block = BLOCKS[name](layer)
        if layer.channels != layer.out_channels:
            self.reduction = nn.Conv2d(layer.channels, layer.out_channels, 1)
        else:
            self.reduction = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """Return maps (B, out_channels, H, W) from maps (B, channels, H, W)."""
        return self.reduction(self.block(x))


class MetaNet(nn.Module):
    """A sequence of blocks: the first has the channels of the features, the others have ``hidden`` channels.

    The rate of stochastic depth rises linearly from 0.01 to ``drop_path``, as in the released code. So 0 leaves a
    positive rate in all blocks but the last.

    Args:
        name: A key of ``BLOCKS``.
        channels: Frames times channels per frame, of the input and the output.
        hidden: Channels of all blocks but the first.
        depth: Number of blocks.
        size: (H, W) of the maps.
        drop_path: Rate of stochastic depth of the last block.
        with_cp: Activation checkpointing, see ``SimVP``.
    """

    def __init__(
        self, name: str, channels: int, hidden: int, depth: int, size: tuple[int, int], drop_path: float, with_cp: bool
    ) -> None:
        super().__init__()
        self.with_cp = with_cp
        rates = torch.linspace(FIRST_DROP_PATH, drop_path, depth, device='cpu').tolist()
        dims = [channels] + [hidden] * (depth - 1) + [channels]
        self.enc = nn.ModuleList(
            MetaLayer(name, Layer(i, dims[i], dims[i + 1], size, rate)) for i, rate in enumerate(rates)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return features of the shape of ``x``, (B, channels, H, W)."""
        for layer in self.enc:
            x = checkpointed(layer, x) if self.with_cp and torch.is_grad_enabled() else layer(x)
        return x


def build_translator(
    name: str, channels: int, hidden: int, depth: int, size: tuple[int, int], drop_path: float, with_cp: bool
) -> nn.Module:
    """Return the translator called ``name``.

    Args:
        name: One of ``TRANSLATORS``.
        channels: Frames times channels per frame, of the input and the output.
        hidden: Channels between the blocks.
        depth: Number of blocks; IncepU has twice as many.
        size: (H, W) of the maps.
        drop_path: Rate of stochastic depth of the last block.
        with_cp: Activation checkpointing, see ``SimVP``.

    Raises:
        ValueError: unknown translator, or an option outside its range.
    """
    if name not in TRANSLATORS:
        raise ValueError(f'translator={name!r}: expected one of {", ".join(TRANSLATORS)}')
    if depth < 2:
        raise ValueError(f'N_T={depth}: expected 2 or more')
    if not 0 <= drop_path < 1:
        raise ValueError(f'drop_path={drop_path}: expected a rate from 0 up to, not including, 1')
    # The families split channels into heads, groups or orders.
    if channels % 8 or hidden % (2 * GROUPS if name == 'incepu' else 8):
        raise ValueError(
            f'hid_T={hidden} and frames x hid_S={channels}: expected multiples of 8, and of hid_T 16 for incepu'
        )
    check_size(name, size, size)
    if name == 'incepu':
        return IncepU(channels, hidden, depth, with_cp)
    return MetaNet(name, channels, hidden, depth, size, drop_path, with_cp)


def check_size(name: str, size: tuple[int, int], built_for: tuple[int, int]) -> None:
    """Check that a translator built for maps of one size can read maps of another.

    Args:
        name: One of ``TRANSLATORS``.
        size: (H, W) of the maps to read.
        built_for: (H, W) that the translator was built for.

    Raises:
        ValueError: the translator cannot read maps of ``size``.
    """
    maps, expected = ('x'.join(map(str, sides)) for sides in (size, built_for))
    if name == 'mlpmixer' and size != built_for:
        raise ValueError(
            f'mlpmixer has weights for maps of {expected} only, got {maps}: build it with in_shape of this size'
        )
    window = window_side(built_for)
    if name == 'swin' and any(side % window for side in size):
        raise ValueError(f'swin has windows of {window}x{window}, which do not divide maps of {maps}')
