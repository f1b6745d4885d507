"""Parameters and multiply-adds of ExPose's networks, counted as the paper's tables count them.

The paper's digits come from mmcv's counter on one crop: backbone, head and all three of its steps. The body model has
no parameters and is not counted, so that its licensed file need not be there. Beside what
``moganet.complexity.COUNTERS`` says, mmcv's counter has 1 per output of a ReLU.
"""

import copy

import torch
from fvcore.nn import FlopCountAnalysis
from mmcv.cnn import get_model_complexity_info
from mmengine.config import Config
from mmengine.registry import DefaultScope
from torch import Tensor, nn

from moganet.complexity import COUNTERS, Complexity

from .registry import MODELS

PAPER_COUNTER = 'mmcv'
# Hands are seen at 224 pixels, faces and bodies at 256.
SHAPES = dict(ExPoseHandHead=(224, 224))
DEFAULT_SHAPE = (256, 256)


class Counted(nn.Module):
    """From the crop to the parameter vector."""

    def __init__(self, estimator: nn.Module):
        super().__init__()
        self.estimator = estimator

    def forward(self, crop: Tensor) -> Tensor:
        return self.estimator.head.regress(self.estimator.extract_feat(crop))


def default_shape(cfg: Config) -> tuple[int, int]:
    """The (H, W) of a config's test crops, or its head's of the paper if it does not say."""
    for step in (cfg.get('test_dataloader') or {}).get('dataset', {}).get('pipeline', ()):
        if 'img_res' in step:
            return step['img_res'], step['img_res']
    return SHAPES.get(cfg.model.get('head', {}).get('type'), DEFAULT_SHAPE)


def count(cfg: Config, shape: tuple[int, int] | None = None, counter: str = PAPER_COUNTER) -> Complexity:
    """Count the network ``cfg.model`` for one crop.

    Args:
        cfg: A config with ``model``; neither weights nor body models are read.
        shape: (H, W) of the crop in pixels, ``default_shape(cfg)`` if None.
        counter: 'mmcv' or 'fvcore', see ``moganet.complexity.COUNTERS``.

    Raises:
        ValueError: no such counter.
    """
    if counter not in COUNTERS:
        raise ValueError(f'counter={counter!r}: expected one of {", ".join(COUNTERS)}')
    shape = tuple(shape or default_shape(cfg))
    # mmcv's counter needs shapes only. fvcore traces, which fails on the meta device: sizes become tensors there.
    device = 'meta' if counter == 'mmcv' else 'cpu'
    with torch.device(device), DefaultScope.overwrite_default_scope('mogapose'):
        estimator = MODELS.build(copy.deepcopy(cfg.model)).eval()
        model = Counted(estimator).eval()
        with torch.no_grad():
            macs = _COUNT[counter](model, (cfg.model.backbone.get('in_channels', 3), *shape))
    return Complexity(
        parameters=sum(p.numel() for p in estimator.parameters()),
        backbone_parameters=sum(p.numel() for p in estimator.backbone.parameters()),
        macs=int(macs),
        shape=shape,
        counter=counter,
    )


def _mmcv(model: nn.Module, shape: tuple[int, int, int]) -> float:
    return get_model_complexity_info(model, shape, print_per_layer_stat=False, as_strings=False)[0]


def _fvcore(model: nn.Module, shape: tuple[int, int, int]) -> float:
    analysis = FlopCountAnalysis(model, torch.zeros(1, *shape))
    return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()


_COUNT = {'mmcv': _mmcv, 'fvcore': _fvcore}
