"""Parameters and multiply-adds of a pose estimator, counted as the paper's tables count them.

The paper's digits come from mmcv's counter on one person at the size of the config's input, height by width: 256x192
means 256 high. The flipped copy that is tested too is not counted. Beside the rules of ``moganet.paper.complexity``,
mmcv's counter has 1 per output of a ReLU.
"""

from mmcv.cnn import get_model_complexity_info
from mmengine.config import Config
from torch import Tensor, nn

from moganet.paper.complexity import COUNTERS, Complexity, count_images

__all__ = ['COUNTERS', 'PAPER_COUNTER', 'count', 'default_shape']

PAPER_COUNTER = 'mmcv'
# Height and width of the smaller of the paper's two inputs.
DEFAULT_SHAPE = (256, 192)


class Counted(nn.Module):
    """A pose estimator from the image to what its head predicts, such as heatmaps; what decodes them is not in it."""

    def __init__(self, estimator: nn.Module) -> None:
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
        counter: 'mmcv' or 'fvcore', see ``moganet.paper.complexity.COUNTERS``.

    Raises:
        ValueError: no such counter.
    """
    shape = tuple(shape or default_shape(cfg))
    return count_images(cfg.model, shape, counter, 'mmpose', get_model_complexity_info, Counted)
