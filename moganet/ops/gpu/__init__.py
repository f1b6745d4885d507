"""Blocks on a GPU: Triton kernels for channels-last maps, registered as PyTorch operators, and how a block uses them.

Importing this loads no Triton. The modules with kernels do; they are imported by the first block that uses them.
"""

import functools
import importlib.util

import torch

_FOUND = importlib.util.find_spec('triton') is not None


def available() -> bool:
    """Whether Triton is installed."""
    return _FOUND


@functools.cache
def capable(device: torch.device) -> bool:
    """Whether Triton compiles all types for it: from the A100 on. Not asked while a graph is captured."""
    return device.type != 'cuda' or torch.cuda.get_device_capability(device) >= (8, 0)
