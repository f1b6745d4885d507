"""The arithmetic of MogaNet in plain PyTorch: the definition every faster version is checked against.

Maps are (B, C, H, W). Equations are those of the paper (https://arxiv.org/abs/2211.03295).
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from ..arch import split_channels


def decompose_features(x: Tensor, scale: Tensor) -> Tensor:
    """Feature decomposition without its activation (paper Eq. 6 and 7): x + scale * (x - mean of x over H, W).

    Args:
        x: (B, C, H, W), the projected features.
        scale: (1, C, 1, 1), gamma_s.
    """
    return x + scale * (x - x.mean((2, 3), keepdim=True))


def multi_order_dwconv(x: Tensor, low: Callable, middle: Callable, high: Callable) -> Tensor:
    """Multi-order depthwise convolutions (paper 4.3): 5x5 on all channels, dilated ones on the two upper groups.

    Args:
        x: (B, C, H, W).
        low, middle, high: the convolutions; ``middle`` and ``high`` act on their group of ``low``'s output.
    """
    x_low, x_middle, x_high = low(x).split(split_channels(x.shape[1]), dim=1)
    return torch.cat((x_low, middle(x_middle), high(x_high)), dim=1)


def gate(g: Tensor, v: Tensor, double: bool = False) -> Tensor:
    """Gated aggregation (paper Eq. 8): SiLU(g) * SiLU(v).

    Args:
        g, v: (B, C, H, W), outputs of the gate and of the value branch.
        double: apply both activations twice, as the official code does under ``attn_force_fp32=True``.
    """
    g, v = F.silu(g), F.silu(v)
    return F.silu(g) * F.silu(v) if double else g * v


def aggregate_channels(x: Tensor, context: Tensor, scale: Tensor) -> Tensor:
    """Channel aggregation (paper Eq. 10): x + scale * (x - context).

    Args:
        x: (B, rC, H, W), the hidden features.
        context: (B, 1, H, W), GELU(W_r x), one channel that all share.
        scale: (1, rC, 1, 1), gamma_c.
    """
    return x + scale * (x - context)
