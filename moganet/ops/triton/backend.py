"""The triton backend: a block on GPUs. 1x1 convolutions are matmuls by cuBLAS, all between them Triton kernels.

Importing this file loads no Triton. The modules with kernels do; the first block that uses them imports them.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ... import compat
from ..conditions import is_intercepted, is_plain, is_unhooked
from ..interface import Backend, Branch, Options
from . import available, capable

DEVICE = 'cuda'
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
# The largest numbers of input and output channels of a stem's first convolution for which there is a kernel.
MAX_STEM_CHANNELS, MAX_STEM_WIDTH = 3, 128


def accepts(x: Tensor, modules: Sequence[nn.Module]) -> bool:
    """Return whether a block on ``x`` (B, C, H, W) is computed here with the weights of ``modules``.

    It is under autocast, torch.compile and torch.export. It is not in double precision, while tracing, under dispatch
    modes and function transforms, and for modules with hooks or with tensors of other classes.
    """
    if x.device.type != DEVICE or not available() or torch.jit.is_tracing() or torch.jit.is_scripting():
        return False
    if x.dtype not in DTYPES or x.dim() != 4 or not x.numel() or not all(map(is_unhooked, modules)):
        return False
    parameters = compat.own_parameters(modules)
    # Autocast chooses the type of each operator.
    dtypes = DTYPES if torch.is_autocast_enabled(DEVICE) else (x.dtype,)
    if not all(p.device == x.device and p.dtype in dtypes for p in parameters):
        return False
    if torch.compiler.is_compiling():
        return True
    return not is_intercepted() and all(map(is_plain, (x, *parameters))) and capable(x.device)


def branches() -> tuple[Branch, Branch]:
    """Return the spatial and the channel branch; imports the kernels."""
    from . import custom_ops

    return custom_ops.SPATIAL, custom_ops.CHANNEL


def accepts_folded(x: Tensor, weights: Sequence[Tensor]) -> bool:
    """Return whether a folded block on ``x`` is computed here."""
    if not x.is_cuda or x.dtype not in DTYPES or not x.numel() or not available():
        return False
    return torch.compiler.is_compiling() or capable(x.device)


def folded(
    x: Tensor, spatial_weights: Sequence[Tensor], channel_weights: Sequence[Tensor], options: Options, cache: bool
) -> Tensor:
    """Compute a folded block; see ``interface.Folded``."""
    from . import fused

    return fused.block(x, spatial_weights, channel_weights, options, cache)


def accepts_stem(x: Tensor, conv: nn.Conv2d, act: nn.Module) -> bool:
    """Return whether there is a kernel for a folded stem's ``act(conv(x))``.

    The convolution is 3x3 with stride 2 and few channels, the activation exact GELU, the type one of 16 bits.
    """
    return (
        x.dtype in (torch.bfloat16, torch.float16)
        and conv.weight.dtype is x.dtype
        and x.shape[1] <= MAX_STEM_CHANNELS
        and type(act) is nn.GELU
        and act.approximate == 'none'
        and (conv.kernel_size, conv.stride, conv.padding, conv.dilation) == ((3, 3), (2, 2), (1, 1), (1, 1))
        and conv.groups == 1
        and conv.out_channels <= MAX_STEM_WIDTH
        and conv.padding_mode == 'zeros'
        and is_unhooked(conv)
        and is_unhooked(act)
    )


def stem(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """Return the GELU of a 3x3 convolution with stride 2, channels-last; see ``stem.py``."""
    from . import stem as kernel

    with torch.cuda.device_of(x):
        return kernel.embed(x, weight, bias)


TRITON = Backend('triton', 'GPUs', accepts, branches, accepts_folded, folded)
