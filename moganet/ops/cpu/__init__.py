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


def folds(x: Tensor, products: list[Tensor], convs: list[Tensor] = ()) -> bool:
    """Whether a whole half that is folded for inference is compiled for maps like ``x`` and these weights."""
    return passes_for(x) is compiled and compiled.folds(x, products, convs)
