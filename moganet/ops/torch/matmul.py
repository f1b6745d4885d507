"""Matmuls of the torch backend: by oneDNN where PyTorch has it, else by PyTorch's own BLAS.

oneDNN chooses its kernels by the features of the processor. The BLAS that PyTorch is built with reaches half of that
speed on processors of other makers. On processors that both libraries know, they are equally fast.
"""

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

from ... import compat


def matmul(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias`` (N, M).

    Args:
        x: (N, K), of any strides.
        weight: (M, K), of any strides.
        bias: (M), or None.
    """
    if x.is_cpu and x.dtype in (torch.float32, torch.bfloat16) and onednn_works(x.dtype):
        return compat.onednn_linear(x, weight, bias)
    return F.linear(x, weight, bias)


def transposed_matmul(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a.T @ b`` of (N, K) and (N, M): (K, M). Computes the transpose where that is the faster order."""
    if a.shape[1] > b.shape[1]:
        return matmul(b.t(), a.t()).t()
    return matmul(a.t(), b.t())


@functools.cache
def onednn_works(dtype: torch.dtype) -> bool:
    """Return whether oneDNN's operator exists and computes a small example right, in ``dtype`` on this processor.

    The operator is private to PyTorch. Not every processor multiplies bfloat16 in oneDNN; ``F.linear`` always does.
    """
    if not compat.has_onednn_linear():
        return False
    x, weight, bias = (torch.arange(n, dtype=dtype).view(shape) for n, shape in ((6, (2, 3)), (12, (4, 3)), (4, (4,))))
    try:
        y = compat.onednn_linear(x, weight, bias)
    except (RuntimeError, TypeError):
        return False
    return torch.equal(y, F.linear(x, weight, bias))
