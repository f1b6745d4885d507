"""Parameters and multiply-adds of a classifier, counted as the paper's tables count them.

The paper's digits come from mmcv's counter at the size of the test crop. The released code ships fvcore's counter,
which leaves out the biases of convolutions and gives 0.4 to 1.7 % less.
"""

import torch
from fvcore.nn import FlopCountAnalysis
from mmcv.cnn import get_model_complexity_info
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpretrain.registry import MODELS

from moganet.backbone import resolve_arch
from moganet.complexity import COUNTERS, Complexity

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
        counter: 'mmcv' or 'fvcore', see ``moganet.complexity.COUNTERS``.
    """
    if counter not in COUNTERS:
        raise ValueError(f'counter={counter!r}: expected one of {", ".join(COUNTERS)}')
    shape = tuple(shape or default_shape(cfg))
    # What train_cfg adds (Mixup, CutMix) costs nothing here, but logs a line.
    settings = {key: value for key, value in cfg.model.items() if key != 'train_cfg'}
    # mmcv's counter needs shapes only. fvcore traces, which fails on the meta device: sizes become tensors there.
    with torch.device('meta' if counter == 'mmcv' else 'cpu'):
        with DefaultScope.overwrite_default_scope('mmpretrain'):  # whatever ran before in this process
            model = MODELS.build(settings).eval()
    channels = cfg.model.backbone.get('in_channels', 3)
    with torch.no_grad():
        macs = _COUNT[counter](model, (channels, *shape))
    return Complexity(
        parameters=sum(p.numel() for p in model.parameters()),
        backbone_parameters=sum(p.numel() for p in model.backbone.parameters()),
        macs=int(macs),
        shape=shape,
        counter=counter,
    )


def _mmcv(model: torch.nn.Module, shape: tuple[int, int, int]) -> float:
    return get_model_complexity_info(model, shape, print_per_layer_stat=False, as_strings=False)[0]


def _fvcore(model: torch.nn.Module, shape: tuple[int, int, int]) -> float:
    analysis = FlopCountAnalysis(model, torch.zeros(1, *shape))
    return analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False).total()


_COUNT = {'mmcv': _mmcv, 'fvcore': _fvcore}
