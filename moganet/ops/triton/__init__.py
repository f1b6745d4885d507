"""Blocks on a GPU: Triton kernels for channels-last maps, registered as PyTorch operators, and how a block uses them.

Importing this loads no Triton. The modules with kernels do; they are imported by the first block that uses them.
"""

import functools
import importlib.util

import torch
from torch.torch_version import TorchVersion

# PyTorch, whose Triton is the first (3.4) that has what our kernels use.
OLDEST = '2.8'


def _found(version: str, hip: str | None) -> bool:
    return not hip and importlib.util.find_spec('triton') is not None and TorchVersion(version) >= OLDEST


_FOUND = _found(torch.__version__, torch.version.hip)


def available() -> bool:
    """Whether Triton is installed, beside a PyTorch of 2.8 or later that is not built for AMD's GPUs."""
    return _FOUND


@functools.cache
def capable(device: torch.device) -> bool:
    """Whether Triton compiles all types for it: from the A100 on. Not asked while a graph is captured."""
    return device.type != 'cuda' or torch.cuda.get_device_capability(device) >= (8, 0)
