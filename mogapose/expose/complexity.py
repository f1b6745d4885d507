"""Parameters and multiply-adds of ExPose's networks, counted as the paper's tables count them.

The paper's digits come from mmcv's counter on one crop: backbone, head and all three of its steps. The body model has
no parameters and is not counted, so that its licensed file is not needed. mmcv's counter also counts 1 per output of a
ReLU, beside the operations that ``moganet.paper.complexity.COUNTERS`` lists.
"""

from mmcv.cnn import get_model_complexity_info
from mmengine.config import Config
from torch import Tensor, nn

from moganet.paper.complexity import COUNTERS, Complexity, count_images

from .models.estimator import SMPLXImageBodyModelEstimator

__all__ = ['COUNTERS', 'PAPER_COUNTER', 'count', 'default_shape']

PAPER_COUNTER = 'mmcv'
# Height and width of the paper's crops: 224 pixels for hands, 256 for faces and bodies.
SHAPES = dict(ExPoseHandHead=(224, 224))
DEFAULT_SHAPE = (256, 256)


class Counted(nn.Module):
    """The part of a network that is counted, from the crop to the parameter vector.

    Args:
        estimator: The network.
    """

    def __init__(self, estimator: SMPLXImageBodyModelEstimator) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(self, crop: Tensor) -> Tensor:
        """Return the parameter vectors (B, P) of crops (B, 3, R, R)."""
        return self.estimator.head.regress(self.estimator.extract_feat(crop))


def default_shape(cfg: Config) -> tuple[int, int]:
    """Return the size of a config's test crops, by default the paper's size for its head.

    Args:
        cfg: The config.

    Returns:
        (H, W) in pixels.
    """
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

    Returns:
        Numbers of parameters and multiply-adds.

    Raises:
        ValueError: The counter is unknown.
    """
    size = shape or default_shape(cfg)
    return count_images(cfg.model, size, counter, 'mogapose', get_model_complexity_info, Counted)
