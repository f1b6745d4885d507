"""Parameters and multiply-adds of a pose estimator, counted as the paper's tables count them.

The paper's digits come from mmcv's counter on one person at the size of the config's input, height by width: 256x192
means 256 high. The flipped copy that is also tested is not counted. mmcv's counter also counts 1 per output of a ReLU,
beside the operations that ``moganet.paper.complexity.COUNTERS`` lists.
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
    """The part of a pose estimator that is counted, from the image to the head's output, such as heatmaps.

    Args:
        estimator: The pose estimator.
    """

    def __init__(self, estimator: nn.Module) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(self, image: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Return the head's output for images (B, 3, H, W)."""
        return self.estimator(image, None, mode='tensor')


def default_shape(cfg: Config) -> tuple[int, int]:
    """Return the input size at which a config is tested, by default ``DEFAULT_SHAPE``.

    Args:
        cfg: The config.

    Returns:
        (H, W) in pixels.
    """
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

    Returns:
        Numbers of parameters and multiply-adds.

    Raises:
        ValueError: The counter is unknown.
    """
    size = shape or default_shape(cfg)
    return count_images(cfg.model, size, counter, 'mmpose', get_model_complexity_info, Counted)
