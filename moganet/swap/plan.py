"""Plans a swap: the changes that put MogaNet in the place of a config's backbone.

The old backbone is built and measured, so there is no table of backbones. The channels that its outputs have are then
looked up in the settings of neck and heads, and replaced by those of MogaNet.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from mmengine.config import Config

from ..arch import NUM_STAGES, resolve_arch
from ..checkpoint import list_weights
from . import channels, probe
from .channels import ConfigPath, value_at

# Stochastic depth of the paper's classifiers.
DROP_PATH_RATES = dict(xtiny=0.05, tiny=0.1, small=0.1, base=0.2, large=0.3, xlarge=0.4)
STRIDES = tuple(4 * 2**i for i in range(NUM_STAGES))
RGB = (123.675, 116.28, 103.53, 58.395, 57.12, 57.375)  # mean and standard deviation of ImageNet
# Keys of a model that hold no reader of maps: no head.
NOT_HEADS = ('backbone', 'neck', 'data_preprocessor', 'train_cfg', 'test_cfg')


@dataclass
class Swap:
    """The changes of a swap.

    Attributes:
        model: The changed keys of ``model``, nested as in the config.
        notices: Facts that the user has to know, and open decisions, a line each.
        candidates: Path and value of numbers that could be channels of the old backbone and were not replaced.
    """

    model: dict[str, Any]
    notices: list[str] = field(default_factory=list)
    candidates: list[str] = field(default_factory=list)


def find_backbone(model: dict[str, Any]) -> ConfigPath:
    """Return the keys that lead from ``model`` to its backbone, such as ('detector', 'backbone').

    Raises:
        ValueError: there is none, or more than one.
    """
    paths = [path for path, key, node in channels.items(model) if key == 'backbone' and _is_module(node[key])]
    if len(paths) != 1:
        raise ValueError(f'expected one backbone in the model, found {", ".join(map(_dotted, paths)) or "none"}')
    return paths[0]


def _is_module(value: object) -> bool:
    return isinstance(value, dict) and 'type' in value


def choose_stages(strides: tuple[float | None, ...]) -> tuple[int, ...]:
    """Choose the stages of MogaNet that replace maps of these strides: ascending, of the nearest strides.

    Args:
        strides: Stride of each map; None for a vector.

    Raises:
        ValueError: more maps than there are stages, or vectors beside maps.
    """
    if strides == (None,):
        return (NUM_STAGES - 1,)
    count = len(strides)
    numbers = [stride for stride in strides if stride is not None]
    if count > NUM_STAGES or len(numbers) < count:
        raise ValueError(
            f'the backbone returns {count} outputs of strides {strides}, MogaNet at most {NUM_STAGES} maps'
        )
    stages: list[int] = []
    for stride in numbers:
        nearest = min(max(round(math.log2(stride)) - 2, 0), NUM_STAGES - 1)
        stages.append(max(nearest, stages[-1] + 1 if stages else 0))
    return tuple(min(stage, NUM_STAGES - count + i) for i, stage in enumerate(stages))


def plan_swap(cfg: Config, arch: str | dict[str, Any], deep: bool = False) -> Swap:
    """Plan the changes of ``cfg.model`` that replace its backbone by MogaNet.

    Args:
        cfg: The config. Its scope must be the default one, see ``probe.scope_of``.
        arch: Size of MogaNet.
        deep: Replace single numbers inside nested modules too, such as the heads of a head that has several.

    Raises:
        ValueError: the model has no backbone or several, or the backbone cannot be measured or replaced.
    """
    model: dict[str, Any] = cfg.model.to_dict()
    path = find_backbone(model)[:-1]
    new_model = copy.deepcopy(model)
    parent = value_at(new_model, path)
    old = parent['backbone']
    size = probe.image_size(cfg, old)
    maps = probe.measure_backbone(copy.deepcopy(old), size)
    stages = choose_stages(maps.strides)
    new = probe.Maps(
        channels=tuple(resolve_arch(arch)['embed_dims'][i] for i in stages),
        strides=tuple(float(STRIDES[i]) for i in stages),
    )

    adapted = _adapt(parent, maps, new, size, deep)
    notices = [*_notices(cfg, parent, maps, stages), *adapted]
    readers = {key: settings for key, settings in parent.items() if key != 'backbone'}
    candidates = [
        f'{_dotted((*path, *inner))} = {value}'
        for inner, value in channels.not_replaced(readers, value_at(model, path), maps.channels, new.channels)
    ]
    if new_model == model and maps.channels != new.channels:
        if maps.strides == (None,):
            raise ValueError(
                f'no head names the {maps.channels[0]} outputs of backbone {old["type"]}: it seems to classify'
            )
        notices.append(
            f'could not decide: no neck or head names the channels {maps.channels}, which are {new.channels} now'
        )
    if maps.strides == (None,) and not parent.get('neck'):
        parent['neck'] = dict(type='GlobalAveragePooling')
        notices.append('the old backbone averaged its map itself: a neck does that now')
    if parent.get('pretrained'):
        parent['pretrained'] = None
    parent['backbone'] = _backbone(arch, stages, old)
    changes = _difference(model, new_model)
    value_at(changes, path)['backbone'] = dict(_delete_=True, **parent['backbone'])
    return Swap(changes, notices, candidates)


def _adapt(parent: dict[str, Any], old: probe.Maps, new: probe.Maps, size: tuple[int, int], deep: bool) -> list[str]:
    """Let neck and heads, in place, read the maps ``new`` instead of ``old``; return notices.

    The inputs of the heads are measured behind the neck, since some necks pass maps on.
    """
    heads = [settings for name, value in parent.items() if name not in NOT_HEADS for settings in _modules(value)]
    neck = next((settings for settings in _modules(parent.get('neck')) if channels.names_channels(settings)), None)
    before = probe.measure_neck(parent['neck'], old, size) if parent.get('neck') else None
    if neck:
        channels.replace(neck, old.channels, new.channels, deep)
    after = probe.measure_neck(parent['neck'], new, size) if before else None
    notices = []
    if before and before.strides == new.strides != old.strides and before != after:
        parent['neck'] = None
        notices.append(f'no neck: MogaNet itself returns the maps of strides {_strides(new)} that the neck made')
        old = before
    elif before and after:
        old, new = before, after
    elif neck:
        return []
    for head in heads:
        channels.replace(head, old.channels, new.channels, deep)
        if 'in_featuremap_size' in head and old.strides[-1] and new.strides[-1]:
            factor = old.strides[-1] / new.strides[-1]
            head['in_featuremap_size'] = tuple(round(side * factor) for side in head['in_featuremap_size'])
    return notices


def _strides(maps: probe.Maps) -> str:
    return ', '.join(f'{stride:g}' for stride in maps.strides)


def _dotted(path: ConfigPath) -> str:
    return '.'.join(map(str, ('model', *path)))


def _modules(value: object) -> list[dict[str, Any]]:
    """Return the settings of one module, or of the modules in a list."""
    values: Sequence[object] = value if isinstance(value, list | tuple) else [value]
    return [settings for settings in values if isinstance(settings, dict)]


def _backbone(arch: str | dict[str, Any], stages: tuple[int, ...], old: dict[str, Any]) -> dict[str, Any]:
    """Return the settings of MogaNet, with the input channels of the old backbone and published weights, if any."""
    settings: dict[str, Any] = dict(type='MogaNet', arch=arch, out_indices=stages)
    if isinstance(old.get('in_channels'), int) and old['in_channels'] != 3:
        settings['in_channels'] = old['in_channels']
    if isinstance(arch, str):
        settings['drop_path_rate'] = DROP_PATH_RATES[arch]
        if f'{arch}_1k' in {row.name for row in list_weights()} and 'in_channels' not in settings:
            settings['init_cfg'] = dict(type='Pretrained', checkpoint=f'moganet://{arch}_1k')
    return settings


def _notices(cfg: Config, parent: dict[str, Any], maps: probe.Maps, stages: tuple[int, ...]) -> list[str]:
    """Return notices on strides, on the preprocessing and on the optimizer, which a swap of channels leaves as is."""
    return [*_stride_notices(maps, stages), *_recipe_notices(cfg, parent)]


def _stride_notices(maps: probe.Maps, stages: tuple[int, ...]) -> list[str]:
    notices = []
    for i, (stride, stage) in enumerate(zip(maps.strides, stages, strict=True)):
        if stride is not None and stride != STRIDES[stage]:
            notices.append(
                f'output {i} had stride {stride:g} and has {STRIDES[stage]} now: the strides of '
                f'MogaNet are {", ".join(map(str, STRIDES))}, it has no dilation'
            )
    if maps.strides[-1] is not None and stages[-1] < NUM_STAGES - 1:
        notices.append(
            f'only the first {stages[-1] + 1} of {NUM_STAGES} stages are built, since the old backbone returned no map '
            f'of a stride above {maps.strides[-1]:g}: set out_indices, and the channels that follow from it, for more'
        )
    return notices


def _recipe_notices(cfg: Config, parent: dict[str, Any]) -> list[str]:
    notices = []
    preprocessor = parent.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    rgb = preprocessor.get('bgr_to_rgb', preprocessor.get('to_rgb', False))
    numbers = [*(preprocessor.get('mean') or ()), *(preprocessor.get('std') or ())]
    if not rgb or len(numbers) != len(RGB) or any(abs(a - b) > 0.1 for a, b in zip(numbers, RGB, strict=True)):
        notices.append(
            'could not decide: model.data_preprocessor. The weights of MogaNet expect RGB with '
            'mean=[123.675, 116.28, 103.53] and std=[58.395, 57.12, 57.375]; this config has another input'
        )
    wrapper: dict[str, Any] = cfg.get('optim_wrapper') or {}
    constructor = wrapper.get('constructor')
    if 'Decay' in str(constructor):
        notices.append(f'could not decide: optim_wrapper.constructor = {constructor!r} may know other backbones only')
    optimizer = (wrapper.get('optimizer') or {}).get('type')
    if optimizer == 'SGD':
        notices.append('the optimizer stays SGD; all published results of MogaNet but the pose ones use AdamW')
    return notices


def _difference(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """Return the keys of a child config that turn ``old`` into ``new``. MMEngine merges no lists: they are whole."""
    changes: dict[str, Any] = {}
    for key, value in new.items():
        if key not in old:
            changes[key] = value
        elif old[key] == value:
            continue
        elif isinstance(value, dict) and isinstance(old[key], dict):
            changes[key] = _difference(old[key], value)
        else:
            changes[key] = dict(_delete_=True, **value) if isinstance(value, dict) else value
    return changes
