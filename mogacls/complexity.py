"""Parameters and multiply-adds of a classifier, counted as the paper's tables count them.

The paper's digits come from mmcv's counter at the size of the test crop. The released code ships fvcore's counter,
whose numbers are 0.4 to 1.7 % lower because it leaves out the biases of convolutions.
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
    """Return the config of a classifier of the paper's Table A1: backbone, global average pooling, one linear layer.

    Args:
        arch: A size such as 'tiny'.

    Raises:
        ValueError: unknown size; the message lists the sizes.
    """
    channels = resolve_arch(arch)['embed_dims'][-1]
    head = dict(type='LinearClsHead', num_classes=1000, in_channels=channels)
    backbone = dict(type='MogaNet', arch=arch)
    return Config(
        dict(model=dict(type='ImageClassifier', backbone=backbone, neck=dict(type='GlobalAveragePooling'), head=head))
    )


def default_shape(cfg: Config) -> tuple[int, int]:
    """Return the (H, W) of the test crop, or ``DEFAULT_SHAPE`` if the test pipeline does not crop."""
    for step in (cfg.get('test_dataloader') or {}).get('dataset', {}).get('pipeline', ()):
        if step['type'] == 'CenterCrop':
            size = step['crop_size']
            height, width = (size, size) if isinstance(size, int) else size
            return height, width
    return DEFAULT_SHAPE


def count(cfg: Config, shape: tuple[int, int] | None = None, counter: str = PAPER_COUNTER) -> Complexity:
    """Count the classifier ``cfg.model`` for one image.

    Args:
        cfg: A config with ``model``; no weights are loaded.
        shape: (H, W) of the image in pixels, the test crop if None.
        counter: 'mmcv' or 'fvcore', see ``moganet.paper.complexity.COUNTERS``.

    Raises:
        ValueError: unknown counter.
    """
    # Mixup and CutMix of train_cfg cost nothing here, and building them logs a line.
    settings = {key: value for key, value in cfg.model.items() if key != 'train_cfg'}
    height, width = shape or default_shape(cfg)
    return count_images(settings, (height, width), counter, 'mmpretrain', get_model_complexity_info)
