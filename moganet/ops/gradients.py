"""The algebra of a block that all backends share: folding of weights, and the gradients of weights behind a folding.

Feature decomposition (Eq. 6 and 7) is linear, and the spatial mean of P n is P times the mean of n:

    P n + s (P n - mean of P n) = diag(1 + s) P n - s * P (mean of n)

so that it costs one matrix-vector product per image. The layer scale of the spatial branch is folded into ``proj_2``.

In the channel branch, the layer scale, gamma_c and the channel that Eq. 10 subtracts are folded into ``fc2``, W2:

    t = GELU(dw(W1 n)) (W2 diag(1 + s))^T - GELU(w g) (W2 s)^T
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


def flat(weights: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Return weights in the shapes of ``interface``: 1x1 convolutions (O, I), one value per channel (C)."""
    return tuple(_flat(w).contiguous() for w in weights)


def _flat(w: Tensor) -> Tensor:
    if w.dim() == 1 or w.shape[-1] > 1:
        return w
    return w.flatten(1) if w.shape[0] > 1 else w.flatten()


class Decomposition(NamedTuple):
    """``proj_1`` with feature decomposition folded in.

    Attributes:
        weight: (C, C).
        bias: A bias for each image (B, C).
        mean: Spatial mean of the normalised input (B, C).
        projected: The mean times ``proj_1`` (B, C).
    """

    weight: Tensor
    bias: Tensor
    mean: Tensor
    projected: Tensor


def decomposed(normed: Tensor, sigma: Tensor, weight: Tensor, bias: Tensor) -> Decomposition:
    """Fold feature decomposition (paper Eq. 6 and 7) into ``proj_1``.

    Args:
        normed: Normalised input (B, H, W, C).
        sigma: gamma_s (C).
        weight: Weight of ``proj_1`` (C, C).
        bias: Bias of ``proj_1`` (C).
    """
    mean = normed.mean((1, 2), dtype=weight.dtype)
    projected = F.linear(mean, weight)
    return Decomposition(torch.addcmul(weight, weight, sigma[:, None]), bias - sigma * projected, mean, projected)


class FoldedSpatial(NamedTuple):
    """Weights of a spatial branch with the scales folded in, and in a folded block the norm.

    Attributes:
        proj_1: (C, C).
        proj_1_bias: (C), or without ``mean`` a bias for each image (B, C).
        mean: Factors of the spatial mean of ``proj_1``'s output, which is subtracted (C); None in training.
        gate, gate_bias: (C, C) and (C).
        convolutions: Weights and biases of the three depthwise convolutions.
        value, value_bias: ``PW_conv`` (C, C) and (C).
        proj_2, proj_2_bias: (C, C) and (C).
        shortcut: Factors of the input in the output (C).
    """

    proj_1: Tensor
    proj_1_bias: Tensor
    mean: Tensor | None
    gate: Tensor
    gate_bias: Tensor
    convolutions: Sequence[Tensor]
    value: Tensor
    value_bias: Tensor
    proj_2: Tensor
    proj_2_bias: Tensor
    shortcut: Tensor

    @classmethod
    def of(cls, weights: Sequence[Tensor]) -> 'FoldedSpatial':
        """Name the weights that ``moganet/fusion.py`` lists."""
        w_in, b_in, mean, w_gate, b_gate, *convs, w_value, b_value, w_out, b_out, shortcut = weights
        return cls(w_in, b_in, mean, w_gate, b_gate, convs, w_value, b_value, w_out, b_out, shortcut)


def folded_spatial(weights: Sequence[Tensor], proj_1: Decomposition) -> FoldedSpatial:
    """Fold the layer scale into the weights of a spatial branch in training.

    Args:
        weights: Weights of the branch, in the order of ``interface``.
        proj_1: ``proj_1`` as ``decomposed`` returns it.
    """
    scale, _, _, _, gate, gate_bias, *convolutions, value, value_bias, proj_2, proj_2_bias = weights
    return FoldedSpatial(
        proj_1.weight,
        proj_1.bias,
        None,
        gate,
        gate_bias,
        convolutions,
        value,
        value_bias,
        scale[:, None] * proj_2,
        scale * proj_2_bias,
        scale,
    )


class SpatialSums(NamedTuple):
    """Sums over positions from which the gradients of a spatial branch's weights follow. t is mask * grad.

    Attributes:
        t: Sum of t (C).
        t_normed: Sum of t times the normalised input (C).
        proj_2: Gradient of ``proj_2``'s weight with the layer scale folded in.
        value, value_bias: Gradients of ``PW_conv``.
        gate, gate_bias: Gradients of ``gate``.
        proj_1: Gradient of ``proj_1``'s weight with feature decomposition folded in.
        convolutions: Gradients of the weights and biases of the depthwise convolutions.
        proj_1_bias: Gradient of ``proj_1``'s bias for each image (B, C).
    """

    t: Tensor
    t_normed: Tensor
    proj_2: Tensor
    value: Tensor
    value_bias: Tensor
    gate: Tensor
    gate_bias: Tensor
    proj_1: Tensor
    convolutions: Sequence[Tensor]
    proj_1_bias: Tensor

    @classmethod
    def of(cls, sums: Sequence[Tensor], proj_1_bias: Tensor) -> 'SpatialSums':
        """Name all sums but ``proj_1_bias``, which are given in the order of the attributes."""
        t, t_normed, proj_2, value, value_bias, gate, gate_bias, proj_1, *convs = sums
        return cls(t, t_normed, proj_2, value, value_bias, gate, gate_bias, proj_1, convs, proj_1_bias)


def spatial_gradients(
    weights: Sequence[Tensor], sums: SpatialSums, proj_1: Decomposition
) -> tuple[tuple[Tensor, ...], Tensor]:
    """Return the gradients of a spatial branch's weights, and the negated gradient of the mean of ``normed``.

    Args:
        weights: Weights of the branch, in the order of ``interface``.
        sums: Sums over positions.
        proj_1: ``proj_1`` as ``decomposed`` returns it.

    Returns:
        Gradients in the order of the weights, and (B, C).
    """
    scale, w_in, _, sigma, *_, w_out, b_out = weights
    through_mean = sums.proj_1_bias * sigma
    d_sigma = torch.linalg.vecdot(sums.proj_1, w_in) - (sums.proj_1_bias * proj_1.projected).sum(0)
    d_w_in = torch.addcmul(sums.proj_1, sums.proj_1, sigma[:, None]) - through_mean.t() @ proj_1.mean
    d_scale = torch.linalg.vecdot(sums.proj_2, w_out) + b_out * sums.t + sums.t_normed
    grads = (
        d_scale,
        d_w_in,
        sums.proj_1_bias.sum(0),
        d_sigma,
        sums.gate,
        sums.gate_bias,
        *sums.convolutions,
        sums.value,
        sums.value_bias,
        scale[:, None] * sums.proj_2,
        scale * sums.t,
    )
    return grads, F.linear(through_mean, w_in.t())


def folded_fc2(weight: Tensor, scale: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Fold the layer scale and gamma_c (paper Eq. 10) into ``fc2``.

    Args:
        weight: Weight of ``fc2`` (C, rC).
        scale: Layer scale (C).
        sigma: gamma_c (rC).

    Returns:
        The folded weight (C, rC), and the vector (C) that the shared channel is multiplied by before it is subtracted.
    """
    scaled = scale[:, None] * weight
    return torch.addcmul(scaled, scaled, sigma), scaled @ sigma


def folded_fc2_backward(
    grad: Tensor, negated: Tensor, weight: Tensor, scale: Tensor, sigma: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the gradients of ``folded_fc2``: of the weight, the layer scale and gamma_c.

    Args:
        grad: Gradient of the folded weight (C, rC), overwritten.
        negated: Negated gradient of the folded vector (C).
        weight: Weight of ``fc2`` (C, rC).
        scale: Layer scale (C).
        sigma: gamma_c (rC).
    """
    unscaled = grad - negated[:, None]
    d_sigma = scale @ (unscaled * weight)
    unscaled = torch.addcmul(grad, unscaled, sigma)
    return torch.mul(unscaled, scale[:, None], out=grad), torch.linalg.vecdot(unscaled, weight), d_sigma


class ChannelSums(NamedTuple):
    """Sums over positions from which the gradients of a channel branch's weights follow. t is mask * grad.

    Attributes:
        t: Sum of t (C).
        t_context: Sum of t times the GELU of the shared channel (C).
        fc2: Gradient of ``fc2``'s weight with all scales folded in.
        context_bias: Gradient of ``decompose``'s bias (1).
        fc1: Gradient of ``fc1``'s weight.
        convolution, convolution_bias: Gradients of the depthwise convolution.
        context: Gradient of ``decompose``'s weight (rC).
        fc1_bias: Gradient of ``fc1``'s bias.
    """

    t: Tensor
    t_context: Tensor
    fc2: Tensor
    context_bias: Tensor
    fc1: Tensor
    convolution: Tensor
    convolution_bias: Tensor
    context: Tensor
    fc1_bias: Tensor


def channel_gradients(weights: Sequence[Tensor], sums: ChannelSums) -> tuple[Tensor, ...]:
    """Return the gradients of a channel branch's weights, in their order. Overwrites ``sums.fc2``.

    Args:
        weights: Weights of the branch, in the order of ``interface``.
        sums: Sums over positions.
    """
    scale, *_, sigma, w2, b2 = weights
    d_w2, d_scale, d_sigma = folded_fc2_backward(sums.fc2, sums.t_context, w2, scale, sigma)
    return (
        d_scale + b2 * sums.t,
        sums.fc1,
        sums.fc1_bias,
        sums.convolution,
        sums.convolution_bias,
        sums.context,
        sums.context_bias,
        d_sigma,
        d_w2,
        scale * sums.t,
    )
