"""The triton backend: Triton kernels for GPUs on channels-last maps, which are registered as PyTorch operators.

Importing this package loads no Triton. ``backend.py`` imports the modules with kernels for the first block that uses
them.
"""

import functools
import importlib.util

import torch
from torch.torch_version import TorchVersion

# The first PyTorch whose Triton (3.4) has all that the kernels use.
OLDEST = '2.8'


def is_supported(version: str, hip: str | None) -> bool:
    """Return whether Triton is installed beside a PyTorch of this version, built for no AMD GPU (``hip`` is None)."""
    return not hip and importlib.util.find_spec('triton') is not None and TorchVersion(version) >= OLDEST


_AVAILABLE = is_supported(torch.__version__, torch.version.hip)


def available() -> bool:
    """Return whether Triton is installed beside a PyTorch of 2.8 or later that is not built for AMD GPUs."""
    return _AVAILABLE


@functools.cache
def capable(device: torch.device) -> bool:
    """Return whether Triton compiles all types for ``device``: from the A100 on. No graph may be captured meanwhile."""
    return device.type != 'cuda' or torch.cuda.get_device_capability(device) >= (8, 0)
