"""What a count of parameters and multiply-adds is. ``complexity.py`` of each task does the counting.

That file of a task has ``COUNTERS``, those it knows, ``PAPER_COUNTER``, the one behind the paper's digits,
``default_shape(cfg)``, the (H, W) its config is tested at, and ``count(cfg, shape, counter)``.
"""

from dataclasses import dataclass

# What each counter includes. A multiply-add (MAC) counts as one; the paper calls them FLOPs.
COUNTERS = {
    'mmcv': 'convolutions with their biases, linear layers without, 2 per element of a norm, 1 per input of a pooling '
    'layer; not: GELU, SiLU, means, products and sums of maps',
    'fvcore': 'convolutions and linear layers without biases, 2 per element of a norm, 1 per input of a pooling layer; '
    'not: GELU, SiLU, means, products and sums of maps',
}


@dataclass(frozen=True)
class Complexity:
    """Size and cost of a network for one image of ``shape`` (H, W).

    Of a video predictor: for one clip, and with its translator for a backbone.
    """

    parameters: int
    backbone_parameters: int
    macs: int
    shape: tuple[int, int]
    counter: str
