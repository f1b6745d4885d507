"""The spatial branch by compiled kernels, one call for each pass. ``gradients.py`` has the algebra."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ..cpu_memory import empty_map
from ..gradients import FoldedSpatial, SpatialSums, decomposed, folded_spatial, spatial_gradients
from ..interface import Options
from .bindings import call, spatial_block


def forward(
    x: Tensor,
    normed: Tensor,
    mask: Tensor | None,
    weights: Sequence[Tensor],
    options: Options,
    saved: list[Tensor] | None,
) -> Tensor:
    """Compute x + mask * branch(normed); see ``interface.Forward``."""
    _, w_in, b_in, sigma, *_ = weights
    folded = folded_spatial(weights, decomposed(normed, sigma, w_in, b_in))
    return folded_forward(x, normed, mask, folded, options, saved)


def folded_forward(
    x: Tensor,
    normed: Tensor,
    mask: Tensor | None,
    weights: FoldedSpatial,
    options: Options,
    saved: list[Tensor] | None = None,
) -> Tensor:
    """Compute x + mask * branch(normed) with folded weights.

    Args:
        x: The residual (B, H, W, C).
        normed: The normalised input (B, H, W, C); in a folded block ``x`` itself.
        mask: Factors of stochastic depth (B, 1, 1, 1), or None.
        weights: Folded weights.
        options: Settings of the block.
        saved: Receives one tensor, the four maps of all images.
    """
    w = weights
    pointers = (*w[:5], *w.convolutions, *w[6:])
    out = empty_map(x)
    maps = None if saved is None else x.new_empty(4 * x.numel())
    call('spatial', spatial_block(x, w.convolutions, options), pointers, x, normed, mask, maps, out)
    if saved is not None and maps is not None:
        saved.append(maps)
    return out


def backward(
    grad: Tensor,
    normed: Tensor,
    mask: Tensor | None,
    weights: Sequence[Tensor],
    options: Options,
    saved: Sequence[Tensor],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Compute the gradients of ``normed`` and of all weights; see ``interface.Backward``."""
    _, w_in, b_in, sigma, *_ = weights
    proj_1 = decomposed(normed, sigma, w_in, b_in)
    w = folded_spatial(weights, proj_1)
    pointers = (w.proj_1, w.gate, *w.convolutions, w.value, w.proj_2, w.shortcut)
    row, square = w.shortcut, w.proj_1
    sums = [torch.empty_like(t) for t in (row, row, square, square, row, square, row, square, *w.convolutions)]
    biases = row.new_empty(len(normed), len(row))
    grad_normed = torch.empty_like(normed)
    block = spatial_block(normed, w.convolutions, options)
    call('spatial_backward', block, pointers, grad, normed, mask, saved[0], grad_normed, [*sums, biases])
    grads, d_mean = spatial_gradients(weights, SpatialSums.of(sums, biases), proj_1)
    grad_normed.sub_(d_mean.div_(normed.shape[1] * normed.shape[2])[:, None, None])
    return grad_normed, grads
