"""What computes. ``reference`` defines each operation; faster versions stand beside it and must agree with it."""

from . import block, fused
from .dispatch import use
from .reference import aggregate_channels, decompose_features, gate, multi_order_dwconv, split_channels

__all__ = [
    'aggregate_channels',
    'block',
    'decompose_features',
    'fused',
    'gate',
    'multi_order_dwconv',
    'split_channels',
    'use',
]
