"""Faster computation of a block.

The words that this package uses:

* A *block* is two residual *branches*: the spatial branch (paper Eq. 6 to 8) and the channel branch (Eq. 9 and 10).
* A *backend* (``torch/``, ``cpp/``, ``triton/``) has ``forward(x, normed, mask, weights, options, saved)`` and
  ``backward(grad, normed, mask, weights, options, saved)`` for each branch, on maps (B, H, W, C): ``interface.py``.
* *Dispatch* picks the first backend that accepts the call: ``dispatch.py``. If none does, the modules of
  ``moganet/backbone.py`` compute; they are the *reference* that each backend must agree with up to rounding.
* *Folded* is a branch whose norms and scales are part of its weights, for inference only: ``fused.py``.
* *Saved* are the tensors that the forward pass keeps for the backward pass.
* *Element-wise steps*, *depthwise convolutions* and *matmuls* are the three kinds of work.

README.md in this folder has a map of the files.
"""

from .dispatch import fast_block, mode, preferred_layout, to_layout, use

__all__ = ['fast_block', 'mode', 'preferred_layout', 'to_layout', 'use']
