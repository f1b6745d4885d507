"""Counts of parameters and multiply-adds: their rules, the counters, and the counting of a model for one image.

``complexity.py`` of each task counts its models. The file has these names:

* ``COUNTERS``: the counters of the task;
* ``PAPER_COUNTER``: the counter of the paper's digits;
* ``default_shape(cfg)``: the (H, W) of a config's test images;
* ``count(cfg, shape, counter)``.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.registry import MODELS, DefaultScope
from torch import nn

# Operations that each counter includes. A multiply-add (MAC) counts as one; the paper calls MACs FLOPs.
COUNTERS = {
    'mmcv': 'convolutions with their biases, linear layers without, 2 per element of a norm, 1 per input of a pooling '
    'layer; not: GELU, SiLU, means, products and sums of maps',
    'fvcore': 'convolutions and linear layers without biases, 2 per element of a norm, 1 per input of a pooling layer; '
    'not: GELU, SiLU, means, products and sums of maps',
}


@dataclass(frozen=True)
class Complexity:
    """Size and cost of a network for one image, or of a video predictor for one clip.

    Attributes:
        parameters: Parameters of the whole model.
        backbone_parameters: Parameters of the backbone; of a video predictor, of its translator.
        macs: Multiply-adds.
        shape: (H, W) of the image in pixels.
        counter: A key of the task's ``COUNTERS``.
    """

    parameters: int
    backbone_parameters: int
    macs: int
    shape: tuple[int, int]
    counter: str


def count_images(
    model: dict[str, Any],
    shape: tuple[int, int],
    counter: str,
    scope: str,
    mmcv_counter: Callable[..., Any],
    wrap: Callable[[Any], nn.Module] = lambda model: model,
) -> Complexity:
    """Count a model for one image.

    Args:
        model: The config of a model with a ``backbone``; no weights are loaded.
        shape: (H, W) of the image in pixels.
        counter: 'mmcv' or 'fvcore', see ``COUNTERS``.
        scope: Scope of the registry that builds the model.
        mmcv_counter: ``mmcv.cnn.get_model_complexity_info``; an argument, since the core imports no MM package.
        wrap: Returns a module that maps an image to the raw outputs of the model's heads.

    Raises:
        ValueError: no such counter.
    """
    if counter not in COUNTERS:
        raise ValueError(f'counter={counter!r}: expected one of {", ".join(COUNTERS)}')
    settings = copy.deepcopy(dict(model))  # some models write into their config
    channels = settings['backbone'].get('in_channels', 3)
    # mmcv's counter needs shapes only. fvcore traces, which fails on the meta device: sizes become tensors there.
    device = 'meta' if counter == 'mmcv' else 'cpu'
    with torch.device(device), torch.no_grad(), DefaultScope.overwrite_default_scope(scope):
        built = MODELS.build(settings).eval()
        counted = wrap(built).eval()
        if counter == 'mmcv':
            macs, _ = mmcv_counter(counted, (channels, *shape), print_per_layer_stat=False, as_strings=False)
        else:
            macs = _count_by_fvcore(counted, (channels, *shape))
    return Complexity(
        parameters=sum(p.numel() for p in built.parameters()),
        backbone_parameters=sum(p.numel() for p in built.backbone.parameters()),
        macs=int(macs),
        shape=shape,
        counter=counter,
    )


def _count_by_fvcore(model: nn.Module, shape: tuple[int, int, int]) -> float:
    from fvcore.nn import FlopCountAnalysis  # the core does not require fvcore

    analysis = FlopCountAnalysis(model, torch.zeros(1, *shape))
    return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()
