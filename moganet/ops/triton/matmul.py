"""Matmuls of maps as rows (N, C), by cuBLAS."""

import torch
from torch import Tensor
from torch.nn import functional as F

# Whether this PyTorch returns the float32 sums of a matmul in half precision.
HAS_OUT_DTYPE = 'dtype' in torch.ops.aten.mm.overloads()


def matmul(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return ``x @ weight.T + bias`` (N, M) in the type of ``x``.

    Args:
        x: (N, K).
        weight: (M, K).
        bias: (M), or None.
    """
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def transposed_matmul(a: Tensor, b: Tensor) -> Tensor:
    """Return ``a.T @ b`` of (N, K) and (N, M): a sum over all positions, (K, M) in float32 without rounding before."""
    if HAS_OUT_DTYPE and a.is_cuda and a.dtype is not torch.float32:
        return torch.mm(a.t(), b, out_dtype=torch.float32)
    return torch.mm(a.t(), b).float()
