"""Matrix products; of float32 on a CPU by oneDNN, where PyTorch brings it, else as PyTorch does them.

oneDNN picks its kernels by what a processor can do; the BLAS that PyTorch is built with reaches half its speed on
processors of other makers. Where both know the processor they are equally fast.
"""

import functools

import torch
from torch import Tensor
from torch.nn import functional as F

# Bytes of maps that a thread works on at once: they stay in the cache, and are too few to be handed back to the system.
CACHED = 4 << 20


def product(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``x @ weight.T + bias`` of (N, K), (M, K) and (M,), of any strides: (N, M)."""
    if x.is_cpu and x.dtype in (torch.float32, torch.bfloat16) and _onednn(x.dtype):
        return torch.ops.mkldnn._linear_pointwise.default(x, weight, bias, 'none', [], '')
    return F.linear(x, weight, bias)


def images_at_once(maps: Tensor, width: int) -> int:
    """Images of (B, H, W, C) whose maps of ``width`` channels take about ``CACHED`` bytes per thread, one or more."""
    return max(1, CACHED * torch.get_num_threads() // (maps.shape[1] * maps.shape[2] * width * maps.element_size()))


@functools.cache
def _onednn(dtype: torch.dtype) -> bool:
    """Whether PyTorch's operation is there, which is none of its public ones, and does what it did on this processor.

    Not every one multiplies bfloat16 in oneDNN; PyTorch's own product always does.
    """
    if not (torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, '_linear_pointwise')):
        return False
    x, weight, bias = (torch.arange(n, dtype=dtype).view(shape) for n, shape in ((6, (2, 3)), (12, (4, 3)), (4, (4,))))
    try:
        y = torch.ops.mkldnn._linear_pointwise(x, weight, bias, 'none', [], '')
    except (RuntimeError, TypeError):
        return False
    return torch.equal(y, F.linear(x, weight, bias))
