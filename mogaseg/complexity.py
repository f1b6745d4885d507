"""Parameters and multiply-adds of a segmentor, counted as the paper's tables count them.

The paper's digits come from mmcv's counter on one image of height 512 and width 2048 (XL: 640 and 2560). The auxiliary
head is used in training only: its parameters are counted, its multiply-adds are not. The decoding head is counted by
the rules of ``moganet.paper.complexity``, with three additions. mmcv's counter has 1 per output of a ReLU and nothing
for SyncBN, the norm of the recipes' heads. Upsampling is free in mmcv's counter and costs 4 per output pixel in
fvcore's. fvcore's counter needs a forward pass on the CPU, up to a minute.
"""

from typing import Any

from mmcv.cnn import get_model_complexity_info
from mmengine.config import Config
from torch import Tensor, nn

from moganet.paper.complexity import COUNTERS, Complexity, count_images

__all__ = ['COUNTERS', 'PAPER_COUNTER', 'count', 'default_shape']

PAPER_COUNTER = 'mmcv'
# Height and width if the test pipeline of a config has no size.
DEFAULT_SHAPE = (512, 2048)


class Counted(nn.Module):
    """A segmentor that maps an image to the scores of all classes at the size of the image, for counting.

    Args:
        segmentor: One of mmseg's encoder-decoders.

    Raises:
        ValueError: the model is of another type.
    """

    segmentor: Any

    def __init__(self, segmentor: nn.Module) -> None:
        super().__init__()
        if not hasattr(segmentor, 'encode_decode'):
            raise ValueError(f"{type(segmentor).__name__} cannot be counted: expected one of mmseg's encoder-decoders")
        self.segmentor = segmentor

    def forward(self, image: Tensor) -> Tensor:
        """Return the scores (1, classes, H, W) for an image (1, 3, H, W)."""
        size = tuple(map(int, image.shape[2:]))
        return self.segmentor.encode_decode(image, [dict(ori_shape=size, img_shape=size, pad_shape=size)])


def default_shape(cfg: Config) -> tuple[int, int]:
    """Return the (H, W) of the largest test image, with the short edge as height, as the paper counts."""
    for step in cfg.get('test_dataloader', {}).get('dataset', {}).get('pipeline', ()):
        if step['type'] == 'Resize' and isinstance(step.get('scale'), list | tuple):
            return min(step['scale']), max(step['scale'])
    return DEFAULT_SHAPE


def count(cfg: Config, shape: tuple[int, int] | None = None, counter: str = PAPER_COUNTER) -> Complexity:
    """Count the segmentor ``cfg.model`` for one image.

    Args:
        cfg: A config with ``model``; no weights are loaded.
        shape: (H, W) of the image in pixels, ``default_shape(cfg)`` if None.
        counter: 'mmcv' or 'fvcore', see ``moganet.paper.complexity.COUNTERS``.

    Raises:
        ValueError: unknown counter, or a model that cannot be counted.
    """
    height, width = shape or default_shape(cfg)
    return count_images(cfg.model, (height, width), counter, 'mmseg', get_model_complexity_info, Counted)
