"""Tiling of maps (B, H, W, C) for kernels that need no neighbours of a position.

The positions of each image are cut into chunks, the channels into blocks. A program computes one chunk of one block.
"""

import functools
from typing import NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .autotune import TARGET_PROGRAMS, ceil_div

# Positions and channels of a tile, and the warps of its program: sixteen elements per thread.
POSITIONS = 32
CHANNELS = 64
WARPS = 4


@triton.jit
def locate(N, C, length, BC: tl.constexpr):
    """Return this program's image, channels (BC), first position and chunk, for N positions in chunks of ``length``.

    Chunks are numbered through all images.
    """
    blocks, chunks = tl.cdiv(C, BC), tl.cdiv(N, length)
    program = tl.program_id(0)
    channels = program % blocks * BC + tl.arange(0, BC)
    chunk = program // blocks
    return chunk // chunks, channels, chunk % chunks * length, chunk


@triton.jit
def load_channels(x_ptr, channels, C):
    """Return one value per channel, (1, BC) in float32; 0 beyond the last channel."""
    return tl.load(x_ptr + channels, mask=channels < C, other=0).to(tl.float32)[None, :]


class Tiling(NamedTuple):
    """Programs for a map: one per image, chunk of positions and block of channels.

    Attributes:
        grid: Number of programs.
        sizes: Arguments of kernels: positions of an image and channels; with sums also positions of a chunk.
        chunks: Chunks per image.
        batch: Images.
    """

    grid: tuple[int]
    sizes: tuple[int, ...]
    chunks: int
    batch: int

    def partial_sums(self, x: Tensor, width: int) -> Tensor:
        """Return an uninitialised buffer for ``width`` sums per chunk, (chunks of all images, width) in float32."""
        return x.new_empty((self.batch * self.chunks, width), dtype=torch.float32)


@functools.lru_cache(1024)
def tiling_of(shape: tuple[int, ...], summed: bool = False) -> Tiling:
    """Return the tiling of a map.

    Args:
        shape: (B, H, W, C).
        summed: Each program also sums over its positions. Chunks are then as long as ``chunk_length`` allows.
    """
    batch, height, width, channels = shape
    positions, blocks = height * width, ceil_div(channels, CHANNELS)
    length = chunk_length(POSITIONS, positions, batch * blocks) if summed else POSITIONS
    chunks = ceil_div(positions, length)
    sizes = (positions, channels, length) if summed else (positions, channels)
    return Tiling((batch * chunks * blocks,), sizes, chunks, batch)


def chunk_length(length: int, positions: int, programs: int) -> int:
    """Return the longest chunk (``length`` times a power of two) that still gives TARGET_PROGRAMS programs.

    The fewer chunks, the smaller is the buffer of their sums.

    Args:
        length: Positions of the shortest chunk.
        positions: Positions of an image.
        programs: Programs that share the positions of a chunk, over all images.
    """
    while length < positions and programs * ceil_div(positions, 2 * length) >= TARGET_PROGRAMS:
        length *= 2
    return length


def check_size(height: int, width: int, channels: int) -> None:
    """Check that kernels can address an image of this size.

    Raises:
        ValueError: The image has 2**31 elements or more.
    """
    if height * width * channels >= 2**31:
        raise ValueError(
            f'a map of {height}x{width} and {channels} channels: the kernels for GPUs take less than 2**31 elements of '
            'an image; smaller images do, or MOGANET_OPS=reference'
        )
