"""Parameters and multiply-adds of a detector, counted as the paper's tables count them.

The paper's digits come from mmcv's counter on one image of height 1280 and width 800. Of a two-stage detector, 1,000
boxes go through each box head and 100 through each mask head, whatever the proposals are. What finds, crops and filters
boxes is counted by no counter, so that the heads here get maps of the right shape and no box is needed.

Beside the rules of ``moganet.paper.complexity``, mmcv's counter has 1 per output of a ReLU and nothing for SyncBN, and
fvcore's 1 per pixel that the FPN's enlarging makes. fvcore's takes a forward pass on the CPU, up to a minute.
"""

from mmcv.cnn import get_model_complexity_info
from mmengine.config import Config
from torch import Tensor, nn

from moganet.paper.complexity import COUNTERS, Complexity, count_images

__all__ = ['COUNTERS', 'PAPER_COUNTER', 'count', 'default_shape']

PAPER_COUNTER = 'mmcv'
# Height and width of the paper's counts. Configs are tested at the size of each photograph.
DEFAULT_SHAPE = (1280, 800)
NUM_BOXES, NUM_MASKS = 1000, 100


class Counted(nn.Module):
    """A detector from the image to the raw outputs of all its heads.

    Args:
        detector: One with ``bbox_head`` that reads maps, or with ``rpn_head`` and ``roi_head``.

    Raises:
        ValueError: a detector of another kind.
    """

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        kinds = ('rpn_head', 'roi_head') if hasattr(detector, 'roi_head') else ('bbox_head',)
        if not all(hasattr(detector, kind) for kind in kinds) or hasattr(detector, 'encoder'):
            raise ValueError(
                f'{type(detector).__name__} cannot be counted: expected a detector with rpn_head and roi_head, or with '
                'a bbox_head that reads the maps of the neck'
            )
        self.detector = detector

    def forward(self, image: Tensor) -> list:
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
    def _outputs(heads: nn.Module, extractors: nn.Module, number: int, image: Tensor) -> list:
        """What the head of each stage says of ``number`` boxes."""
        if not isinstance(heads, nn.ModuleList):
            heads, extractors = [heads], [extractors]
        outputs = []
        for head, extractor in zip(heads, extractors, strict=True):
            height, width = extractor.roi_layers[0].output_size
            outputs.append(head(image.new_zeros(number, extractor.out_channels, height, width)))
        return outputs


def default_shape(cfg: Config) -> tuple[int, int]:
    """The (H, W) of the paper's counts, for any config."""
    return DEFAULT_SHAPE


def count(cfg: Config, shape: tuple[int, int] | None = None, counter: str = PAPER_COUNTER) -> Complexity:
    """Count the detector ``cfg.model`` for one image.

    Args:
        cfg: A config with ``model``; no weights are loaded.
        shape: (H, W) of the image in pixels, ``DEFAULT_SHAPE`` if None.
        counter: 'mmcv' or 'fvcore', see ``moganet.paper.complexity.COUNTERS``.

    Raises:
        ValueError: no such counter, or a detector of a kind that cannot be counted.
    """
    shape = tuple(shape or default_shape(cfg))
    return count_images(cfg.model, shape, counter, 'mmdet', get_model_complexity_info, Counted)
