"""How maps (B, H, W, C) are shared out among programs that take positions as they come, without neighbours."""

import functools
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .autotune import PROGRAMS, ceil_div

# Positions and channels that a program has at once, with four warps: sixteen elements per thread.
POSITIONS = 32
CHANNELS = 64
WARPS = 4


@triton.jit
def place(N, C, length, BC: tl.constexpr):
    """This program's image, channels and first position, and the number of its part, of ``length`` of N positions."""
    blocks, parts = tl.cdiv(C, BC), tl.cdiv(N, length)
    program = tl.program_id(0)
    channels = program % blocks * BC + tl.arange(0, BC)
    part = program // blocks
    return part // parts, channels, part % parts * length, part


@triton.jit
def vector(x_ptr, channels, C):
    """A number per channel, (1, BC) in float32."""
    return tl.load(x_ptr + channels, mask=channels < C, other=0).to(tl.float32)[None, :]


class Shares(NamedTuple):
    """Programs for a map: one per image, part of its positions and block of channels."""

    grid: tuple[int]
    # Positions and channels, and positions per part where these are summed: what kernels are told.
    sizes: tuple[int, ...]
    # Per image.
    parts: int
    batch: int

    def buffer(self, x: Tensor, width: int) -> Tensor:
        """For ``width`` numbers per part."""
        return x.new_empty((self.batch * self.parts, width), dtype=torch.float32)


@functools.lru_cache(1024)
def shares(shape: tuple[int, ...], summed: bool = False) -> Shares:
    """How a map of ``shape`` (B, H, W, C) is shared out.

    Where positions are ``summed``, a part is the ``longest``.
    """
    batch, height, width, channels = shape
    positions, blocks = height * width, ceil_div(channels, CHANNELS)
    length = longest(POSITIONS, positions, batch * blocks) if summed else POSITIONS
    parts = ceil_div(positions, length)
    sizes = (positions, channels, length) if summed else (positions, channels)
    return Shares((batch * parts * blocks,), sizes, parts, batch)


def longest(length: int, positions: int, programs: int) -> int:
    """The most positions of a part that leave enough programs, of which each part has ``programs``: ``length`` doubled.

    The fewer parts, the smaller the buffer of their sums.
    """
    while length < positions and programs * ceil_div(positions, 2 * length) >= PROGRAMS:
        length *= 2
    return length


def check_size(height: int, width: int, channels: int) -> None:
    """Raise ValueError if kernels cannot address an image."""
    if height * width * channels >= 2**31:
        raise ValueError(
            f'a map of {height}x{width} and {channels} channels: the kernels for GPUs take less than 2**31 elements of '
            'an image; smaller images do, or MOGANET_OPS=reference'
        )
