"""Calls of the compiled kernels: their structures, and tensors as pointers. ``kernels.h`` has the same structures."""

from collections.abc import Sequence
from ctypes import Array, Structure, byref, c_int, c_void_p

import torch
from torch import Tensor

from ...arch import split_channels
from ..cpu_memory import SPATIAL_MAPS, images_at_once
from ..interface import Options
from .library import load

# The largest side of a depthwise kernel that is compiled.
MAX_SIDE = 7
# Hidden channels of a channel branch that are computed at once: as many as a matmul reads at once.
SLICE = 320

# None is a null pointer, a sequence an array of pointers.
Argument = Tensor | Sequence[Tensor | None] | None


class Maps(Structure):
    """Shape of a map, and the number of threads."""

    _fields_ = [(name, c_int) for name in ('batch', 'height', 'width', 'channels', 'threads')]


class Block(Structure):
    """Shape and settings of a block, and how much of it is computed at once."""

    _fields_ = [
        *Maps._fields_,
        *((name, c_int) for name in ('images', 'hidden', 'slice', 'low', 'middle', 'double_gate')),
        ('sides', c_int * 3),
        ('dilations', c_int * 3),
    ]


def spatial_block(x: Tensor, convolutions: Sequence[Tensor], options: Options) -> Block:
    """Return the structure of a spatial branch.

    Args:
        x: A map of the branch (B, H, W, C).
        convolutions: Weights and biases of the three depthwise convolutions.
        options: Settings of the block.
    """
    images = min(len(x), images_at_once(x, SPATIAL_MAPS * x.shape[-1]))
    low, middle, _ = split_channels(x.shape[-1])
    sides = (c_int * 3)(*(weight.shape[-1] for weight in convolutions[::2]))
    dilations = (c_int * 3)(*options.dilations)
    threads = torch.get_num_threads()
    return Block(*x.shape, threads, images, 0, 0, low, middle, options.double_gate, sides, dilations)


def channel_block(x: Tensor, hidden: int) -> Block:
    """Return the structure of a channel branch on a map ``x`` (B, H, W, C) with ``hidden`` hidden channels."""
    images = min(len(x), images_at_once(x, hidden))
    return Block(*x.shape, torch.get_num_threads(), images, hidden, min(hidden, SLICE))


def call(name: str, problem: Structure | Array[c_int], *arguments: Argument) -> None:
    """Call the kernel ``moganet_{name}``.

    Args:
        name: Name of the kernel without its prefix.
        problem: Structure or array of numbers that the kernel reads first.
        arguments: Contiguous float32 tensors, and sequences of them.

    Raises:
        MemoryError: The kernel cannot allocate its workspace.
    """
    if getattr(load(), f'moganet_{name}')(byref(problem), *map(_pointer, arguments)) == 1:
        raise MemoryError(f'moganet_{name} cannot allocate its workspace')


def _pointer(argument: Argument) -> object:
    if argument is None or isinstance(argument, Tensor):
        return c_void_p(_address(argument))
    return (c_void_p * len(argument))(*map(_address, argument))


def _address(t: Tensor | None) -> int | None:
    if t is None:
        return None
    assert t.dtype is torch.float32, t.dtype
    assert t.is_contiguous(), t.stride()
    return t.data_ptr()
