"""Builds a model of any MM package and runs it on one small image: backbone alone, neck alone, whole model.

MM packages are imported here by the scope that a config names, so that the core depends on none of them.
"""

import contextlib
import copy
import importlib
import io
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData

from ..run.config import dicts
from .channels import ConfigPath

# A multiple of the usual strides up to 64, with enough positions for the 900 queries of the DETR family.
SIDE = 256
MAX_PROPOSALS = 10
IMAGENET_SIZE = (224, 224)
SAMPLES = {'mmdet': 'DetDataSample', 'mmseg': 'SegDataSample'}

Settings = dict[str, Any] | list[Any]  # of a module, or of several in a row


@dataclass(frozen=True)
class Maps:
    """Outputs of a backbone or neck.

    Attributes:
        channels: Channels of each output.
        strides: Stride of each output in pixels of the image; None for a vector.
    """

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
        # Some of the packages print messages or warn about optional packages.
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            importlib.import_module(f'{scope}.utils').register_all_modules(init_default_scope=False)
    except ModuleNotFoundError as error:
        raise ValueError(f'{cfg.filename} needs the package {scope!r}: {error}') from error
    with DefaultScope.overwrite_default_scope(scope):
        yield scope


def image_size(cfg: Config, backbone: dict[str, Any]) -> tuple[int, int]:
    """Return (H, W) of the image for a model: ``SIDE``, unless mmpose's codec or the backbone fixes the size.

    Args:
        cfg: The config of the model.
        backbone: The settings of its backbone.
    """
    codec = cfg.get('codec') or {}
    codec = codec[0] if isinstance(codec, list) else codec
    size = codec['input_size'][::-1] if 'input_size' in codec else backbone.get('img_size', SIDE)
    return (size, size) if isinstance(size, int) else (size[0], size[1])


def image_sizes(cfg: Config, backbone: dict[str, Any]) -> list[tuple[int, int]]:
    """Return the sizes to try one after the other: ``image_size``, then mmseg's crop, which some heads need."""
    small = image_size(cfg, backbone)
    crop = (cfg.model.get('data_preprocessor') or cfg.get('data_preprocessor') or {}).get('size')
    return [small] if crop is None or tuple(crop) == small else [small, (crop[0], crop[1])]


def measure_backbone(settings: dict[str, Any], size: tuple[int, int]) -> Maps:
    """Measure channels and strides of a backbone's outputs. It is built without loading weights.

    Args:
        settings: The settings of the backbone.
        size: (H, W) of the image.

    Raises:
        ValueError: the backbone cannot be built or run by itself, or returns neither maps nor vectors.
    """
    settings = {key: value for key, value in settings.items() if key not in ('init_cfg', 'pretrained')}
    _lighten(settings)
    in_channels = settings.get('in_channels', 3)
    shape = (1, in_channels if isinstance(in_channels, int) else 3)
    # Some backbones read values, which the meta device has not. Some accept no other size than ImageNet's crops.
    for device, tried_size in (('meta', size), ('cpu', size), ('cpu', IMAGENET_SIZE)):
        try:
            maps = _maps(_forward(device, settings, (*shape, *tried_size)), tried_size)
            break
        except Exception as error:
            reason = error
    else:
        raise ValueError(f'backbone {settings["type"]} cannot be run by itself: {reason}') from reason
    if maps is None:
        raise ValueError(f'backbone {settings["type"]} returns neither maps nor vectors: nothing to replace them with')
    return maps


def measure_neck(settings: Settings, maps: Maps, size: tuple[int, int]) -> Maps | None:
    """Measure channels and strides of a neck's outputs.

    Args:
        settings: The settings of the neck, or of several in a row.
        maps: The maps that the neck reads.
        size: (H, W) of the image of these maps.

    Returns:
        None if the neck reads vectors or cannot be run by itself.
    """
    strides = [stride for stride in maps.strides if stride is not None]
    if len(strides) < len(maps.strides):
        return None
    settings = copy.deepcopy(settings)
    for node in dicts(settings):
        node.pop('init_cfg', None)
    _lighten(settings)
    shapes = [
        (1, channels, *(round(side / stride) for side in size))
        for channels, stride in zip(maps.channels, strides, strict=True)
    ]
    for device in ('meta', 'cpu'):
        # The error of a neck that does not fit is reported when the whole model runs.
        with contextlib.suppress(Exception):
            return _maps(_forward(device, settings, *shapes, as_tuple=True), size)
    return None


def _forward(device: str, settings: Settings, *shapes: tuple[int, ...], as_tuple: bool = False) -> Any:
    """Build a module on a device and return its outputs for zeros."""
    with torch.device(device), torch.no_grad():
        module = MODELS.build(settings)
        module.eval()  # returns nothing where train() is overridden
        inputs = tuple(torch.zeros(shape) for shape in shapes)
        return module(inputs if as_tuple else inputs[0])


def _maps(outputs: Any, size: tuple[int, int]) -> Maps | None:
    """Return channels and strides of outputs; None if any of them is neither a map nor a vector."""
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    if not outputs or any(not isinstance(out, torch.Tensor) or out.ndim not in (2, 4) for out in outputs):
        return None
    return Maps(
        channels=tuple(out.shape[1] for out in outputs),
        strides=tuple(size[0] / out.shape[2] if out.ndim == 4 else None for out in outputs),
    )


def build_model(cfg: Config, path: ConfigPath = ()) -> Any:
    """Build the model of a config for evaluation, on the CPU, with random weights.

    Args:
        cfg: The config.
        path: Names that lead to the module to return, such as the detector of a tracker.
    """
    model = copy.deepcopy(dict(cfg.model))
    _lighten(model)
    if cfg.get('data_preprocessor'):
        model.setdefault('data_preprocessor', cfg.data_preprocessor)
    with torch.device('cpu'):
        model = MODELS.build(model)
    for key in path:
        model = getattr(model, str(key), model)
    model.eval()
    return model


def _lighten(settings: Settings) -> None:
    """Replace norms over processes, and limit proposals: thousands take a minute on a CPU and prove nothing more."""
    for node in dicts(settings):
        if node.get('type') in ('SyncBN', 'MMSyncBN', 'naiveSyncBN'):
            node['type'] = 'BN'
        for key in ('nms_pre', 'max_per_img'):
            if isinstance(node.get(key), int):
                node[key] = min(node[key], MAX_PROPOSALS)


@torch.no_grad()
def run_features(model: Any, size: tuple[int, int]) -> Any:
    """Run backbone and neck on one image of zeros, of ``size`` (H, W); return their outputs."""
    return model.extract_feat(torch.zeros(1, 3, *size))


@torch.no_grad()
def run_heads(model: Any, scope: str, size: tuple[int, int]) -> str:
    """Run the whole model, auxiliary heads included, on one image of zeros. Errors of the model pass through.

    Args:
        model: The model.
        scope: The MM package of the model.
        size: (H, W) of the image.

    Returns:
        The shapes that mmpose's heads return, which must fit the codecs; '' for other packages.
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
        no_objects = dict(bboxes=torch.zeros(0, 4), labels=torch.zeros(0, dtype=torch.long))
        sample.gt_instances = InstanceData(**no_objects)  # some heads of mmdet unpack it in every mode
        # mmdet's mode 'predict' also decodes the detections of random weights, which can take minutes. The heads that
        # mmseg has from mmdet have no other mode.
        model(images, [sample], mode='tensor' if scope == 'mmdet' else 'predict')
    else:
        outputs = model(images, None, mode='tensor')
    auxiliary = getattr(model, 'auxiliary_head', None)
    if auxiliary is not None:
        features = model.extract_feat(images)
        for head in auxiliary if isinstance(auxiliary, torch.nn.ModuleList) else [auxiliary]:
            head(features)
    return _shapes(outputs) if scope == 'mmpose' else ''


def _shapes(outputs: Any) -> str:
    """Return the shapes of nested outputs, without the batch."""
    if isinstance(outputs, torch.Tensor):
        return 'x'.join(map(str, outputs.shape[1:]))
    return ', '.join(_shapes(out) for out in outputs) if isinstance(outputs, list | tuple) else type(outputs).__name__
