"""Compiled kernels for CPUs, which are taken where they are there: ``moganet kernels`` compiles them."""

from types import ModuleType

import torch
from torch import Tensor

from .. import choice, passes
from . import compiled, library


def passes_for(x: Tensor) -> ModuleType:
    """What computes between the products of a block for maps like ``x``: compiled, or by PyTorch's operations."""
    if x.dtype is torch.float32 and choice.choice() == 'auto' and library.load() is not None:
        return compiled
    return passes
