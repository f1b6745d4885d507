"""Matrix products of maps as rows (N, C), by cuBLAS."""

import torch
from torch import Tensor
from torch.nn import functional as F

# Whether this PyTorch gives the sums of a product of half precision as they are summed.
WIDE = 'dtype' in torch.ops.aten.mm.overloads()


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` of (N, K), (M, K) and (M,), each in the type of ``x``."""
    return F.linear(x, weight.to(x.dtype), None if bias is None else bias.to(x.dtype))


def correlate(a: Tensor, b: Tensor) -> Tensor:
    """``a.T @ b`` of (N, K) and (N, M), a sum over all positions: (K, M) in float32, which is not rounded before."""
    if WIDE and a.is_cuda and a.dtype is not torch.float32:
        return torch.mm(a.t(), b, out_dtype=torch.float32)
    return torch.mm(a.t(), b).float()
