"""The interface between dispatch and a backend: which calls a backend accepts, and its forward and backward passes.

Maps are (B, H, W, C) and contiguous. The weights of a branch are a sequence of tensors in this order:

* spatial: layer scale (C), proj_1 and bias, gamma_s (C), gate and bias, three depthwise convolutions each with its
  bias, PW_conv and bias, proj_2 and bias
* channel: layer scale (C), fc1 and bias, the depthwise convolution and its bias, decompose and bias, gamma_c (rC),
  fc2 and bias

1x1 convolutions are (O, I), ``decompose`` is (rC), depthwise convolutions are (C, 1, k, k). ``moganet/fusion.py`` lists
the weights of a folded branch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from torch import Tensor, nn


class Options(NamedTuple):
    """Settings of a spatial branch that are no tensors.

    Attributes:
        double_gate: Apply both activations of the gate twice.
        dilations: Dilations of the three depthwise convolutions.
    """

    double_gate: bool
    dilations: tuple[int, ...]


class Forward(Protocol):
    """Compute x + mask * branch(normed)."""

    def __call__(
        self,
        x: Tensor,
        normed: Tensor,
        mask: Tensor | None,
        weights: Sequence[Tensor],
        options: Options,
        saved: list[Tensor] | None,
    ) -> Tensor:
        """Return a map like ``x``.

        Args:
            x: The residual (B, H, W, C).
            normed: The normalised input (B, H, W, C).
            mask: Factors of stochastic depth (B, 1, 1, 1), or None.
            weights: Weights of the branch, in the order of this module's docstring.
            options: Settings of the block.
            saved: Receives the tensors that ``backward`` needs; None at inference.
        """


class Backward(Protocol):
    """Compute the gradients of a branch."""

    def __call__(
        self,
        grad: Tensor,
        normed: Tensor,
        mask: Tensor | None,
        weights: Sequence[Tensor],
        options: Options,
        saved: Sequence[Tensor],
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the gradient of ``normed``, and those of all weights in their order.

        Args:
            grad: Gradient of the output (B, H, W, C).
            normed: The normalised input (B, H, W, C).
            mask: Factors of stochastic depth (B, 1, 1, 1), or None.
            weights: Weights of the branch.
            options: Settings of the block.
            saved: The tensors that the forward pass saved.
        """


class Operator(Protocol):
    """A forward pass registered as a PyTorch operator with a backward of its own."""

    def __call__(
        self, x: Tensor, normed: Tensor, mask: Tensor | None, weights: Sequence[Tensor], options: Options
    ) -> Tensor:
        """Return x + mask * branch(normed); the weights have the shapes that the modules give them."""


class Folded(Protocol):
    """Compute a block whose norms and scales are folded into its weights. Inference only."""

    def __call__(
        self,
        x: Tensor,
        spatial_weights: Sequence[Tensor],
        channel_weights: Sequence[Tensor],
        options: Options,
        cache: bool,
    ) -> Tensor:
        """Return the block's output (B, C, H, W), channels-last.

        Args:
            x: The input (B, C, H, W).
            spatial_weights: Folded weights of the spatial branch, in the order of ``moganet/fusion.py``.
            channel_weights: Folded weights of the channel branch.
            options: Settings of the block.
            cache: Keep derived forms of the weights for the next call. A graph that is being compiled must not.
        """


@dataclass(frozen=True)
class Branch:
    """One branch of a block by one backend.

    Attributes:
        forward: Forward pass.
        backward: Backward pass.
        operator: The same as a PyTorch operator, for compilers; None where the backend cannot be compiled.
    """

    forward: Forward
    backward: Backward
    operator: Operator | None = None


@dataclass(frozen=True)
class Backend:
    """One way to compute a block faster than the modules do.

    Attributes:
        name: 'triton', 'cpp' or 'torch'.
        devices: The devices in a log message.
        accepts: Return whether the backend computes a block on ``x`` with the weights of ``modules``, which it reads
            without calling the modules.
        branches: Return the spatial and the channel branch. Kernels are imported here, at the first use.
        accepts_folded: Return whether the backend computes a folded block on ``x`` with these folded weights.
        folded: Compute a folded block.
    """

    name: str
    devices: str
    accepts: Callable[[Tensor, Sequence[nn.Module]], bool]
    branches: Callable[[], tuple[Branch, Branch]]
    accepts_folded: Callable[[Tensor, Sequence[Tensor]], bool]
    folded: Folded
