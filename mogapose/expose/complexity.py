"""Parameters and multiply-adds of ExPose's networks, counted as the paper's tables count them.

The paper's digits come from mmcv's counter on one crop: backbone, head and all three of its steps. The body model has
no parameters and is not counted, so that its licensed file need not be there. Beside what
``moganet.paper.complexity.COUNTERS`` says, mmcv's counter has 1 per output of a ReLU.
"""

from mmcv.cnn import get_model_complexity_info
from mmengine.config import Config
from torch import Tensor, nn

from moganet.paper.complexity import COUNTERS, Complexity, count_images

__all__ = ['COUNTERS', 'PAPER_COUNTER', 'count', 'default_shape']

PAPER_COUNTER = 'mmcv'
# Hands are seen at 224 pixels, faces and bodies at 256.
SHAPES = dict(ExPoseHandHead=(224, 224))
DEFAULT_SHAPE = (256, 256)


class Counted(nn.Module):
    """From the crop to the parameter vector."""

    def __init__(self, estimator: nn.Module) -> None:
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
        counter: 'mmcv' or 'fvcore', see ``moganet.paper.complexity.COUNTERS``.

    Raises:
        ValueError: no such counter.
    """
    shape = tuple(shape or default_shape(cfg))
    return count_images(cfg.model, shape, counter, 'mogapose', get_model_complexity_info, Counted)
