"""A folded block on a CPU, compiled: one call, in which Python has no part."""

from collections.abc import Sequence
from ctypes import Structure, byref, c_int, c_void_p

import torch
from torch import Tensor

from ..products import images_at_once
from ..reference import split_channels
from ..spatial import MAPS
from .compiled import MOST_TAPS, Maps
from .library import load

# Hidden channels that pass through a channel half at once: as many as a product takes inputs at once.
SLICE = 320


class Fused(Structure):
    """A block: images that its halves work on at once, its groups of channels and its depthwise convolutions."""

    _fields_ = [
        *Maps._fields_,
        *((name, c_int) for name in ('hidden', 'slice', 'spatial_images', 'channel_images', 'low', 'middle', 'twice')),
        ('sides', c_int * 3),
        ('dilations', c_int * 3),
    ]


def applies(x: Tensor, spatial_weights: Sequence[Tensor], channel_weights: Sequence[Tensor]) -> bool:
    """Whether a block with these weights is compiled."""
    usual = all(
        w.dtype is torch.float32 and w.is_contiguous()
        for weights in (spatial_weights, channel_weights)
        for w in weights
    )
    return usual and all(w.shape[-1] == w.shape[-2] <= MOST_TAPS for w in spatial_weights[5:10:2])


def block(
    x: Tensor, spatial_weights: list[Tensor], channel_weights: list[Tensor], dilations: Sequence[int], double: bool
) -> Tensor:
    """``moganet.ops.fused.block`` of a map (B, H, W, C)."""
    batch, height, width, channels = x.shape
    hidden, area = len(channel_weights[0]), height * width
    some = min(hidden, SLICE)
    images = [min(batch, images_at_once(x, maps)) for maps in (MAPS * channels, hidden)]
    low, middle, _ = split_channels(channels)
    sides = [spatial_weights[i].shape[-1] for i in (5, 7, 9)]
    problem = Fused(batch, height, width, channels, torch.get_num_threads(), hidden, some, *images, low, middle, double,
                    (c_int * 3)(*sides), (c_int * 3)(*dilations))  # fmt: skip
    # What lies between the halves, and then what each of them needs, one after the other.
    floats = x.numel() + area * max(3 * channels * images[0], (2 * some + 1) * images[1])
    memory, out = x.new_empty(floats), torch.empty_like(x)
    pointers = [w.data_ptr() for w in spatial_weights] + [w.data_ptr() for w in channel_weights]
    load().moganet_fused(
        byref(problem), (c_void_p * len(pointers))(*pointers), c_void_p(x.data_ptr()), c_void_p(memory.data_ptr()),
        c_void_p(out.data_ptr()))  # fmt: skip
    return out
