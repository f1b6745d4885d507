"""Put MogaNet in the place of the backbone of any config of an MM package: ``moganet swap``.

The old backbone is built and measured, so there is no table of backbones: what its neck and heads say of channels is
compared with what it returns, and the config that results is built and run once.
"""

import copy
import math
import os
import sys
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from ..arch import NUM_STAGES, resolve_arch
from ..checkpoint import list_weights
from ..errors import one_line
from . import channels, probe, text
from .channels import at

# Stochastic depth of the paper's classifiers.
DROP_PATH_RATES = dict(xtiny=0.05, tiny=0.1, small=0.1, base=0.2, large=0.3, xlarge=0.4)
STRIDES = tuple(4 * 2**i for i in range(NUM_STAGES))
RGB = (123.675, 116.28, 103.53, 58.395, 57.12, 57.375)  # mean and standard deviation of ImageNet
NO_READERS = ('backbone', 'neck', 'data_preprocessor', 'train_cfg', 'test_cfg')
STEPS = ('built', 'run up to its neck', 'run through its heads')
PROVEN = 'built, and run once from backbone to heads'
FOLLOWS = "what follows from a map's size has to be set, such as codec.heatmap_size"


@dataclass
class Swap:
    """What a swap changes.

    Attributes:
        model: The changed keys of ``model``, nested as in the config.
        notices: What the reader has to know or decide.
        candidates: Paths and values that could be channels of the old backbone, and were left alone.
    """

    model: dict
    notices: list[str] = field(default_factory=list)
    candidates: list[str] = field(default_factory=list)


def load(config: str) -> Config:
    """Read a config by path or by scoped name, such as 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it cannot be read.
    """
    if '::' not in config and not Path(config).is_file():
        raise FileNotFoundError(f'config {config} does not exist; configs of MM packages are named as in mmdet::...')
    base = config if '::' in config else os.path.abspath(config)
    with tempfile.TemporaryDirectory() as folder:
        child = Path(folder, 'child.py')
        child.write_text(f'_base_ = {base!r}\n')
        try:
            return Config.fromfile(child)
        except Exception as error:
            raise ValueError(f'config {config} cannot be read: {type(error).__name__}: {error}') from error


def find_backbone(model: dict) -> tuple[str, ...]:
    """Keys that lead from ``model`` to its backbone, such as ('detector', 'backbone').

    Raises:
        ValueError: there is none, or more than one.
    """
    found = [path for path, key, node in channels.items(model) if key == 'backbone' and _is_part(node[key])]
    if len(found) != 1:
        names = ', '.join('.'.join(map(str, ('model', *path))) for path in found) or 'none'
        raise ValueError(f'expected one backbone in the model, found {names}')
    return found[0]


def _is_part(value: object) -> bool:
    return isinstance(value, dict) and 'type' in value


def choose_stages(strides: tuple[float | None, ...]) -> tuple[int, ...]:
    """The stages of MogaNet that stand for maps of these strides, as near as rising stages can be.

    Raises:
        ValueError: more maps than there are stages, or vectors beside maps.
    """
    count = len(strides)
    if strides == (None,):
        return (NUM_STAGES - 1,)
    if count > NUM_STAGES or None in strides:
        raise ValueError(
            f'the backbone returns {count} outputs of strides {strides}, MogaNet at most {NUM_STAGES} maps'
        )
    stages = []
    for stride in strides:
        nearest = min(max(round(math.log2(stride)) - 2, 0), NUM_STAGES - 1)
        stages.append(max(nearest, stages[-1] + 1 if stages else 0))
    return tuple(min(stage, NUM_STAGES - count + i) for i, stage in enumerate(stages))


def plan(cfg: Config, arch: str | dict, deep: bool = False) -> Swap:
    """What changes in ``cfg.model`` if MogaNet of size ``arch`` takes the place of its backbone.

    The scope of the config must be the default one, see ``probe.scope_of``. With ``deep``, channels are looked for in
    the parts of a part too, such as the heads of a head that has several.
    """
    model = cfg.model.to_dict()
    path = find_backbone(model)[:-1]
    new_model = copy.deepcopy(model)
    parent = at(new_model, path)
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
    parts = {key: part for key, part in parent.items() if key != 'backbone'}
    candidates = [
        f'{_dotted((*path, *item))} = {value}'
        for item, value in channels.left_alone(parts, at(model, path), maps.channels, new.channels)
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
    at(changes, path)['backbone'] = dict(_delete_=True, **parent['backbone'])
    return Swap(changes, notices, candidates)


def _adapt(parent: dict, old: probe.Maps, new: probe.Maps, size: tuple[int, int], deep: bool) -> list[str]:
    """Let neck and heads, in place, read the maps ``new`` instead of ``old``. Returns what to say of it.

    What the heads read is measured behind the neck, since some necks pass maps on.
    """
    heads = [part for name, value in parent.items() if name not in NO_READERS for part in _parts(value)]
    neck = next((part for part in _parts(parent.get('neck')) if channels.named_in(part)), None)
    before = probe.measure_neck(parent['neck'], old, size) if parent.get('neck') else None
    if neck:
        channels.replace(neck, old.channels, new.channels, deep)
    after = probe.measure_neck(parent['neck'], new, size) if before else None
    notices = []
    if before and before.strides == new.strides != old.strides and before != after:
        parent['neck'] = None
        notices.append(f'no neck: what it made of the old maps, one of each stride {_strides(new)}, MogaNet returns')
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


def _dotted(path: tuple) -> str:
    return '.'.join(map(str, ('model', *path)))


def _parts(value: object) -> list[dict]:
    return [part for part in (value if isinstance(value, list | tuple) else [value]) if isinstance(part, dict)]


def _backbone(arch: str | dict, stages: tuple[int, ...], old: dict) -> dict:
    settings = dict(type='MogaNet', arch=arch, out_indices=stages)
    if isinstance(old.get('in_channels'), int) and old['in_channels'] != 3:
        settings['in_channels'] = old['in_channels']
    if isinstance(arch, str):
        settings['drop_path_rate'] = DROP_PATH_RATES[arch]
        if f'{arch}_1k' in {row.name for row in list_weights()} and 'in_channels' not in settings:
            settings['init_cfg'] = dict(type='Pretrained', checkpoint=f'moganet://{arch}_1k')
    return settings


def _notices(cfg: Config, parent: dict, maps: probe.Maps, stages: tuple[int, ...]) -> list[str]:
    """What a swap of channels leaves open."""
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
    preprocessor = parent.get('data_preprocessor') or cfg.get('data_preprocessor') or {}
    rgb = preprocessor.get('bgr_to_rgb', preprocessor.get('to_rgb', False))
    numbers = [*(preprocessor.get('mean') or ()), *(preprocessor.get('std') or ())]
    if not rgb or len(numbers) != len(RGB) or any(abs(a - b) > 0.1 for a, b in zip(numbers, RGB, strict=True)):
        notices.append(
            'could not decide: model.data_preprocessor. The weights of MogaNet expect RGB with '
            'mean=[123.675, 116.28, 103.53] and std=[58.395, 57.12, 57.375]; this config has another input'
        )
    wrapper = cfg.get('optim_wrapper') or {}
    if 'constructor' in wrapper and 'Decay' in str(wrapper.constructor):
        notices.append(
            f'could not decide: optim_wrapper.constructor = {wrapper.constructor!r} may know other backbones only'
        )
    optimizer = (wrapper.get('optimizer') or {}).get('type')
    if optimizer == 'SGD':
        notices.append('the optimizer stays SGD; all published results of MogaNet but the pose ones use AdamW')
    return notices


def _difference(old: dict, new: dict) -> dict:
    """What a child config must say so that ``old`` becomes ``new``. Lists are replaced whole: MMEngine merges none."""
    changes = {}
    for key, value in new.items():
        if key not in old or old[key] == value:
            changes |= {} if key in old else {key: value}
        elif isinstance(value, dict) and isinstance(old[key], dict):
            changes[key] = _difference(old[key], value)
        else:
            changes[key] = dict(_delete_=True, **value) if isinstance(value, dict) else value
    return changes


def config_text(base: str, cfg: Config, swap: Swap, title: str) -> str:
    """The child config of ``base``, which is what ``_base_`` is to be; ``cfg`` is the config that ``base`` leads to."""
    imports = (cfg.get('custom_imports') or {}).get('imports', [])
    imports = [imports] if isinstance(imports, str) else list(imports)
    return text.config_text(base, [*imports, 'moganet'], swap.model, swap.notices, title)


def verify(cfg: Config, original: Config, scope: str) -> tuple[bool, str]:
    """Build the swapped model and run it once on a small image. Returns whether it may be used, and what was found."""
    for size in probe.image_sizes(cfg, at(original.model, find_backbone(original.model))):
        done, found = _attempt(cfg, original, scope, size)
        if done == len(STEPS) and not found:
            return True, PROVEN
        before, expected = _attempt(original, original, scope, size)
        if done == len(STEPS):
            good = before < done or found == expected
            return good, PROVEN if good else f'the swapped model returns {found}, the original {expected}: {FOLLOWS}'
        if before > done:
            return False, f'the swapped model cannot be {STEPS[done]}: {found}'
    return done > 0, f'could not decide: the swapped model cannot be {STEPS[done]} here, nor can the original ({found})'


def _verify_written(swap: Swap, config: str, original: Config, scope: str) -> tuple[bool, str]:
    """``verify`` on the config as it would be written, read again."""
    with tempfile.TemporaryDirectory() as scratch:
        child = Path(scratch, 'child.py')
        child.write_text(config_text(config if '::' in config else os.path.abspath(config), original, swap, config))
        return verify(Config.fromfile(child), original, scope)


def _attempt(cfg: Config, original: Config, scope: str, size: tuple[int, int]) -> tuple[int, str]:
    """How many of ``STEPS`` a model can take; then what the next one raised, or what the heads returned."""
    path, done = find_backbone(original.model), 0
    try:
        model = probe.build_model(cfg, path[:-1])
        done = 1
        probe.run_features(model, size)
        done = 2
        found = probe.run_heads(model, scope, size)
    except Exception as error:
        return done, _reason(error)
    return len(STEPS), found


def _reason(error: Exception) -> str:
    """What was raised, with the line that did if that is all there is to tell."""
    message = one_line(error)
    if message:
        return message
    last = traceback.extract_tb(error.__traceback__)[-1]
    return f'{type(error).__name__} in {Path(last.filename).name}, line {last.lineno}: {last.line}'


def main(config: str, arch: str, out: str | None) -> int:
    """Write the swapped config to ``out``, else print it; 1 if the model that it describes cannot be built or run."""
    original = load(config)
    if not original.get('model'):
        raise ValueError(f'config {config} has no model')
    folder = os.path.dirname(out or '') or '.'
    base = config if '::' in config else os.path.relpath(config, folder)
    with probe.scope_of(original) as scope:
        swap = plan(original, arch)
        good, found = _verify_written(swap, config, original, scope)
        if not good and swap.candidates:
            deeper = plan(original, arch, deep=True)
            replaced = [line for line in swap.candidates if line not in deeper.candidates]
            deeper.notices += [f'{line} was replaced too: the model cannot be run without that' for line in replaced]
            good, found_deeper = _verify_written(deeper, config, original, scope)
            swap, found = (deeper, found_deeper) if good else (swap, found)
    source = config_text(base, original, swap, f'{config} with MogaNet ({arch}) as its backbone')
    if out:
        os.makedirs(folder, exist_ok=True)
        Path(out).write_text(source)
    else:
        print(source, end='')
    undecided = [] if found == PROVEN else [f'could not decide: {line}' for line in swap.candidates]
    for line in [*swap.notices, *undecided, found]:
        print(line, file=sys.stderr)
    return 0 if good else 1
