"""Parameters and multiply-adds of a classifier, counted as the paper's tables count them.

The paper's digits come from mmcv's counter at the size of the test crop. The released code ships fvcore's counter,
which leaves out the biases of convolutions and gives 0.4 to 1.7 % less.
"""

from mmcv.cnn import get_model_complexity_info
from mmengine.config import Config

from moganet.arch import resolve_arch
from moganet.paper.complexity import COUNTERS, Complexity, count_images

__all__ = ['COUNTERS', 'PAPER_COUNTER', 'count', 'default_shape', 'size_config']

PAPER_COUNTER = 'mmcv'
# Resolution of the paper's main table.
DEFAULT_SHAPE = (224, 224)


def size_config(arch: str) -> Config:
    """The classifier of the paper's Table A1 for a size: the backbone, its mean over the map, one linear layer.

    Raises:
        ValueError: no such size; the sizes are named.
    """
    channels = resolve_arch(arch)['embed_dims'][-1]
    head = dict(type='LinearClsHead', num_classes=1000, in_channels=channels)
    backbone = dict(type='MogaNet', arch=arch)
    return Config(
        dict(model=dict(type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head))
    )


def default_shape(cfg: Config) -> tuple[int, int]:
    """The (H, W) of the test crop, or ``DEFAULT_SHAPE`` if the config crops nowhere."""
    for step in (cfg.get('test_dataloader') or {}).get('dataset', {}).get('pipeline', ()):
        if step['type'] == 'CenterCrop':
            size = step['crop_size']
            return (size, size) if isinstance(size, int) else tuple(size)
    return DEFAULT_SHAPE


def count(cfg: Config, shape: tuple[int, int] | None = None, counter: str = PAPER_COUNTER) -> Complexity:
    """Count the classifier ``cfg.model`` for one image.

    Args:
        cfg: A config with ``model``; no weights are loaded.
        shape: (H, W) of the image in pixels, the test crop if None.
        counter: 'mmcv' or 'fvcore', see ``moganet.paper.complexity.COUNTERS``.
    """
    # What train_cfg adds (Mixup, CutMix) costs nothing here, but logs a line.
    settings = {key: value for key, value in cfg.model.items() if key != 'train_cfg'}
    shape = tuple(shape or default_shape(cfg))
    return count_images(settings, shape, counter, 'mmpretrain', get_model_complexity_info)
