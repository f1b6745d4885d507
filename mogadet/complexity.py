"""Parameters and multiply-adds of a detector, counted as the paper's tables count them.

The paper's digits come from mmcv's counter on one image of height 1280 and width 800. In a two-stage detector, each box
head reads 1,000 boxes and each mask head 100, independent of the proposals. No counter counts the proposal filter, the
cropping or the suppression. So the heads here read zero maps of the right shape, and no boxes are needed.

Two rules differ from ``moganet.paper.complexity``. mmcv's counter has 1 per output of a ReLU and nothing for SyncBN.
fvcore's counter has 1 per output pixel of the FPN's upsampling; it needs a forward pass on the CPU, up to a minute.
"""

from typing import Any

from mmcv.cnn import get_model_complexity_info
from mmengine.config import Config
from torch import Tensor, nn

from moganet.paper.complexity import COUNTERS, Complexity, count_images

__all__ = ['COUNTERS', 'PAPER_COUNTER', 'count', 'default_shape']

PAPER_COUNTER = 'mmcv'
# Height and width of the paper's counts, for all configs: test images have different sizes.
DEFAULT_SHAPE = (1280, 800)
NUM_BOXES, NUM_MASKS = 1000, 100


class Counted(nn.Module):
    """A detector that maps an image to the raw outputs of all its heads, for counting.

    Args:
        detector: A detector with a ``bbox_head`` that reads maps, or with ``rpn_head`` and ``roi_head``.

    Raises:
        ValueError: the detector is of another type.
    """

    detector: Any

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        heads = ('rpn_head', 'roi_head') if hasattr(detector, 'roi_head') else ('bbox_head',)
        if not all(hasattr(detector, head) for head in heads) or hasattr(detector, 'encoder'):
            raise ValueError(
                f'{type(detector).__name__} cannot be counted: expected a detector with rpn_head and roi_head, or with '
                'a bbox_head that reads the maps of the neck'
            )
        self.detector = detector

    def forward(self, image: Tensor) -> list:
        """Return the raw outputs of the heads for an image (1, 3, H, W)."""
        maps = self.detector.extract_feat(image)
        if not hasattr(self.detector, 'roi_head'):
            return [self.detector.bbox_head(maps)]
        heads = self.detector.roi_head
        outputs = [self.detector.rpn_head(maps)]
        outputs += self._outputs(heads.bbox_head, heads.bbox_roi_extractor, NUM_BOXES, image)
        if heads.with_mask:
            outputs += self._outputs(heads.mask_head, heads.mask_roi_extractor, NUM_MASKS, image)
        return outputs

    @staticmethod
    def _outputs(heads: Any, extractors: Any, number: int, image: Tensor) -> list:
        """Return the outputs of the head of each stage for ``number`` boxes."""
        stages = zip(heads, extractors, strict=True) if isinstance(heads, nn.ModuleList) else [(heads, extractors)]
        outputs = []
        for head, extractor in stages:
            height, width = extractor.roi_layers[0].output_size
            outputs.append(head(image.new_zeros(number, extractor.out_channels, height, width)))
        return outputs


def default_shape(cfg: Config) -> tuple[int, int]:
    """Return the (H, W) of the paper's counts, the same for all configs."""
    return DEFAULT_SHAPE


def count(cfg: Config, shape: tuple[int, int] | None = None, counter: str = PAPER_COUNTER) -> Complexity:
    """Count the detector ``cfg.model`` for one image.

    Args:
        cfg: A config with ``model``; no weights are loaded.
        shape: (H, W) of the image in pixels, ``DEFAULT_SHAPE`` if None.
        counter: 'mmcv' or 'fvcore', see ``moganet.paper.complexity.COUNTERS``.

    Raises:
        ValueError: unknown counter, or a detector that cannot be counted.
    """
    height, width = shape or default_shape(cfg)
    return count_images(cfg.model, (height, width), counter, 'mmdet', get_model_complexity_info, Counted)
