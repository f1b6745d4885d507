"""What a model of an MM package does with one small image: the maps of its backbone, whether its parts fit.

MM packages are imported here by the scope that a config names, so that the core depends on none of them.
"""

import contextlib
import copy
import importlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData

from ..run.config import dicts

# A multiple of the usual strides up to 64, and enough positions for the 900 queries of the DETR family.
SIDE = 256
PROPOSALS = 10
CROP = (224, 224)
SAMPLES = {'mmdet': 'DetDataSample', 'mmseg': 'SegDataSample'}


@dataclass(frozen=True)
class Maps:
    """Outputs of a backbone: channels, and strides, None where an output is a vector."""

    channels: tuple[int, ...]
    strides: tuple[float | None, ...]


@contextlib.contextmanager
def scope_of(cfg: Config) -> Iterator[str]:
    """Import the MM package of ``cfg`` with all its classes, and make its scope the default one.

    Raises:
        ValueError: the config names no scope, or its package is not installed.
    """
    scope = cfg.get('default_scope')
    if not scope:
        raise ValueError(f'{cfg.filename} has no default_scope: nothing says which MM package builds its model')
    try:
        # Some of the packages print what they can do without, or warn of it.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            importlib.import_module(f'{scope}.utils').register_all_modules(init_default_scope=False)
    except ModuleNotFoundError as error:
        raise ValueError(f'{cfg.filename} needs the package {scope!r}: {error}') from error
    with DefaultScope.overwrite_default_scope(scope):
        yield scope


def image_size(cfg: Config, backbone: dict) -> tuple[int, int]:
    """(H, W) of the image that a model is run on: ``SIDE``, unless mmpose's codec or the backbone fixes the size."""
    codec = cfg.get('codec') or {}
    codec = codec[0] if isinstance(codec, list) else codec
    own = codec['input_size'][::-1] if 'input_size' in codec else backbone.get('img_size', SIDE)
    return (own, own) if isinstance(own, int) else tuple(own)


def image_sizes(cfg: Config, backbone: dict) -> list[tuple[int, int]]:
    """The sizes to run a model on in turn: ``image_size``, then that of mmseg's crops, for heads that need more."""
    small = image_size(cfg, backbone)
    own = (cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}).get('size')
    return [small] if own is None or tuple(own) == small else [small, tuple(own)]


def measure_backbone(settings: dict, size: tuple[int, int]) -> Maps:
    """Channels and strides of what the backbone of ``settings`` returns, without weights being loaded.

    Raises:
        ValueError: it cannot be built or run by itself, or returns neither maps nor vectors.
    """
    settings = {key: value for key, value in settings.items() if key not in ('init_cfg', 'pretrained')}
    _lighten(settings)
    in_channels = settings.get('in_channels', 3)
    shape = (1, in_channels if isinstance(in_channels, int) else 3)
    # Not every backbone can do without values. Some take one size only, which is that of ImageNet's crops.
    for device, size in (('meta', size), ('cpu', size), ('cpu', CROP)):  # noqa: B020
        try:
            maps = _maps(_forward(device, settings, (*shape, *size)), size)
            break
        except Exception as error:
            reason = error
    else:
        raise ValueError(f'backbone {settings["type"]} cannot be run by itself: {reason}') from reason
    if maps is None:
        raise ValueError(f'backbone {settings["type"]} returns neither maps nor vectors: nothing to replace them with')
    return maps


def measure_neck(settings: dict | list, maps: Maps, size: tuple[int, int]) -> Maps | None:
    """Channels and strides of what a neck makes of ``maps`` of an image of ``size``; None if that cannot be found."""
    if None in maps.strides:
        return None
    settings = copy.deepcopy(settings)
    for node in dicts(settings):
        node.pop('init_cfg', None)
    _lighten(settings)
    shapes = [
        (1, channels, *(round(side / stride) for side in size))
        for channels, stride in zip(maps.channels, maps.strides, strict=True)
    ]
    for device in ('meta', 'cpu'):
        # What is wrong with it shows when the whole model is run.
        with contextlib.suppress(Exception):
            return _maps(_forward(device, settings, *shapes, as_tuple=True), size)
    return None


def _forward(device: str, settings: dict | list, *shapes: tuple[int, ...], as_tuple: bool = False) -> object:
    with torch.device(device), torch.no_grad():
        module = MODELS.build(settings)
        module.eval()  # returns nothing where train() is overridden
        inputs = tuple(torch.zeros(shape) for shape in shapes)
        return module(inputs if as_tuple else inputs[0])


def _maps(outputs: object, size: tuple[int, int]) -> Maps | None:
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    if not outputs or any(not isinstance(out, torch.Tensor) or out.ndim not in (2, 4) for out in outputs):
        return None
    return Maps(
        channels=tuple(out.shape[1] for out in outputs),
        strides=tuple(size[0] / out.shape[2] if out.ndim == 4 else None for out in outputs),
    )


def build_model(cfg: Config, path: tuple[str, ...] = ()) -> torch.nn.Module:
    """The model of ``cfg`` for evaluation, on the CPU, with random weights; of a tracker, the detector at ``path``."""
    model = copy.deepcopy(dict(cfg.model))
    _lighten(model)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with torch.device('cpu'):
        model = MODELS.build(model)
    for key in path:
        model = getattr(model, key, model)
    model.eval()
    return model


def _lighten(settings: dict | list) -> None:
    """Norms of one process, and few proposals: thousands take a minute on a CPU, and say nothing more."""
    for node in dicts(settings):
        if node.get('type') in ('SyncBN', 'MMSyncBN', 'naiveSyncBN'):
            node['type'] = 'BN'
        for key in ('nms_pre', 'max_per_img'):
            if isinstance(node.get(key), int):
                node[key] = min(node[key], PROPOSALS)


@torch.no_grad()
def run_features(model: torch.nn.Module, size: tuple[int, int]) -> object:
    """Backbone and neck on one image of zeros."""
    return model.extract_feat(torch.zeros(1, 3, *size))


@torch.no_grad()
def run_heads(model: torch.nn.Module, scope: str, size: tuple[int, int]) -> str:
    """The whole model on one image of zeros, auxiliary heads included. Raises what the model raises.

    Returns:
        The shapes that mmpose's heads return, which its codecs have to expect; nothing for other packages.
    """
    images = torch.zeros(1, 3, *size)
    if scope in SAMPLES:
        sample = getattr(importlib.import_module(f'{scope}.structures'), SAMPLES[scope])()
        sample.set_metainfo(
            dict(
                img_shape=size,
                ori_shape=size,
                pad_shape=size,
                batch_input_shape=size,
                scale_factor=(1.0, 1.0),
                img_id=0,
                flip=False,
                padding_size=[0, 0, 0, 0],
                border=[0, 0, 0, 0],
            )
        )
        nothing = dict(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        sample.gt_instances = InstanceData(**nothing)  # some heads of mmdet unpack it in every mode
        # mmdet's predictions also decode what random weights find, which can take minutes. Heads of mmseg that are
        # those of mmdet have no other mode.
        model(images, [sample], mode='tensor' if scope == 'mmdet' else 'predict')
    else:
        outputs = model(images, None, mode='tensor')
    auxiliary = getattr(model, 'auxiliary_head', None)
    if auxiliary is not None:
        features = model.extract_feat(images)
        for head in auxiliary if isinstance(auxiliary, torch.nn.ModuleList) else [auxiliary]:
            head(features)
    return _shapes(outputs) if scope == 'mmpose' else ''


def _shapes(outputs: object) -> str:
    if isinstance(outputs, torch.Tensor):
        return 'x'.join(map(str, outputs.shape[1:]))
    return ', '.join(_shapes(out) for out in outputs) if isinstance(outputs, list | tuple) else type(outputs).__name__
