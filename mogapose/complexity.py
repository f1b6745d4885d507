"""Parameters and multiply-adds of a pose estimator, counted as the paper's tables count them.

The paper's digits come from mmcv's counter on one person at the size of the config's input, height by width: 256x192
means 256 high. The flipped copy that is tested too is not counted. Beside what ``moganet.complexity.COUNTERS`` says,
mmcv's counter has 1 per output of a ReLU.
"""

import copy

import torch
from fvcore.nn import FlopCountAnalysis
from mmcv.cnn import get_model_complexity_info
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.registry import MODELS
from torch import Tensor, nn

from moganet.complexity import COUNTERS, Complexity

PAPER_COUNTER = 'mmcv'
# Height and width of the smaller of the paper's two inputs.
DEFAULT_SHAPE = (256, 192)


class Counted(nn.Module):
    """A pose estimator from the image to what its head predicts, such as heatmaps; what decodes them is not in it."""

    def __init__(self, estimator: nn.Module):
        super().__init__()
        self.estimator = estimator

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        return self.estimator(image, None, mode='tensor')


def default_shape(cfg: Config) -> tuple[int, int]:
    """The (H, W) that a config's persons are tested at, or ``DEFAULT_SHAPE`` if it does not say."""
    for step in (cfg.get('test_dataloader') or {}).get('dataset', {}).get('pipeline', ()):
        if 'input_size' in step:
            width, height = step['input_size']
            return height, width
    return DEFAULT_SHAPE


def count(cfg: Config, shape: tuple[int, int] | None = None, counter: str = PAPER_COUNTER) -> Complexity:
    """Count the pose estimator ``cfg.model`` for one image.

    Args:
        cfg: A config with ``model``; no weights are loaded.
        shape: (H, W) of the image in pixels, ``default_shape(cfg)`` if None.
        counter: 'mmcv' or 'fvcore', see ``moganet.complexity.COUNTERS``.

    Raises:
        ValueError: no such counter.
    """
    if counter not in COUNTERS:
        raise ValueError(f'counter={counter!r}: expected one of {", ".join(COUNTERS)}')
    shape = tuple(shape or default_shape(cfg))
    # mmcv's counter needs shapes only. fvcore traces, which fails on the meta device: sizes become tensors there.
    device = 'meta' if counter == 'mmcv' else 'cpu'
    with torch.device(device), DefaultScope.overwrite_default_scope('mmpose'):
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
