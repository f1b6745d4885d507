"""Put MogaNet in the place of the backbone of any config of an MM package: ``moganet swap``.

The old backbone is built and measured, so there is no table of backbones: what its neck and heads say of channels is
compared with what it returns, and the config that results is built and run once.
"""

import copy
import math
import os
import re
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config import Config

from . import probe
from .backbone import NUM_STAGES, resolve_arch
from .checkpoint import list_weights
from .cli import one_line

# Stochastic depth of the paper's classifiers.
DROP_PATH_RATES = dict(xtiny=0.05, tiny=0.1, small=0.1, base=0.2, large=0.3, xlarge=0.4)
STRIDES = tuple(4 * 2**i for i in range(NUM_STAGES))
RGB = (123.675, 116.28, 103.53, 58.395, 57.12, 57.375)  # mean and standard deviation of ImageNet
# Keys whose number is what a part reads, such as in_channels, c1_in_channels or backbone_channel.
INPUT_KEY = re.compile(r'(^|_)in_(channels?|dims?|planes)$|^(input|backbone)_(channels?|dims?)$')
# Keys whose list may be what a part reads, one entry per map.
LIST_KEY = re.compile(r'^(?!out|hidden|mid|conv_out).*(channels?|dims?|planes)(_list)?$')
NO_READERS = ('backbone', 'neck', 'data_preprocessor', 'train_cfg', 'test_cfg')
WIDTH = 120
STEPS = ('built', 'run up to its neck', 'run through its heads')
PROVEN = 'built, and run once from backbone to heads'


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
    found = [path for path, key, node in _items(model) if key == 'backbone' and _is_part(node[key])]
    if len(found) != 1:
        names = ', '.join('.'.join(map(str, ('model', *path))) for path in found) or 'none'
        raise ValueError(f'expected one backbone in the model, found {names}')
    return found[0]


def _is_part(value: object) -> bool:
    return isinstance(value, dict) and 'type' in value


def _items(node: object, path: tuple = ()) -> Iterator[tuple[tuple, object, dict]]:
    """(path of the item, key, dict that has it) for every key of every dict in ``node``."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*path, key), key, node
            yield from _items(value, (*path, key))
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from _items(value, (*path, i))


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


def plan(cfg: Config, arch: str | dict) -> Swap:
    """What changes in ``cfg.model`` if MogaNet of size ``arch`` takes the place of its backbone.

    The scope of the config must be the default one, see ``probe.scope_of``.
    """
    model = cfg.model.to_dict()
    path = find_backbone(model)[:-1]
    new_model = copy.deepcopy(model)
    parent = _at(new_model, path)
    old = parent['backbone']
    maps = probe.measure_backbone(copy.deepcopy(old), probe.image_size(cfg, old))
    stages = choose_stages(maps.strides)
    channels = tuple(resolve_arch(arch)['embed_dims'][i] for i in stages)

    for reader in _readers(parent):
        _replace_channels(reader, maps.channels, channels)
    candidates = _left_alone(parent, _at(model, path), path, maps.channels, channels)
    notices = _notices(cfg, parent, maps, stages)
    if new_model == model and maps.channels != channels:
        if maps.strides == (None,):
            raise ValueError(
                f'no head names the {maps.channels[0]} outputs of backbone {old["type"]}: it seems to classify'
            )
        notices.append(
            f'could not decide: no neck or head names the channels {maps.channels}, which are {channels} now'
        )
    if maps.strides == (None,) and not parent.get('neck'):
        parent['neck'] = dict(type='GlobalAveragePooling')
        notices.append('the old backbone averaged its map itself: a neck does that now')
    if parent.get('pretrained'):
        parent['pretrained'] = None
    parent['backbone'] = _backbone(arch, stages, old)
    changes = _difference(model, new_model)
    _at(changes, path)['backbone'] = dict(_delete_=True, **parent['backbone'])
    return Swap(changes, notices, candidates)


def _at(node: object, path: tuple) -> object:
    for key in path:
        node = node[key]
    return node


def _dotted(path: tuple) -> str:
    return '.'.join(map(str, ('model', *path)))


def _readers(parent: dict) -> list[dict]:
    """The parts that read the backbone: the first neck that has channels, else every part but the necks."""
    for neck in _parts(parent.get('neck')):
        if any(INPUT_KEY.search(str(key)) or LIST_KEY.search(str(key)) for _, key, _ in _items(neck)):
            return [neck]
    return [part for name, value in parent.items() if name not in NO_READERS for part in _parts(value)]


def _parts(value: object) -> list[dict]:
    return [part for part in (value if isinstance(value, list | tuple) else [value]) if isinstance(part, dict)]


def _replace_channels(reader: dict, old: tuple[int, ...], new: tuple[int, ...]) -> None:
    """Replace, in place, the channels that ``reader`` has of the old maps by those of the new ones."""
    for _, key, node in list(_items(reader)):
        value = node[key]
        if isinstance(value, list | tuple) and LIST_KEY.search(str(key)):
            changed = _new_list(list(value), node.get('in_index'), old, new, at_top=node is reader)
            node[key] = type(value)(changed) if changed else value
        elif type(value) is int and INPUT_KEY.search(str(key)) and (node is reader or 'in_index' in node):
            node[key] = _new_number(value, node.get('in_index'), old, new)


def _new_number(value: int, index: object, old: tuple[int, ...], new: tuple[int, ...]) -> int:
    if isinstance(index, int) and -len(old) <= index < len(old) and old[index] == value:
        return new[index]
    if value in old:
        return new[len(old) - 1 - old[::-1].index(value)]  # the deepest of maps with the same channels
    return sum(new) if value == sum(old) else value


def _new_list(values: list, index: object, old: tuple[int, ...], new: tuple[int, ...], at_top: bool) -> list | None:
    """The list for the new maps if ``values`` are channels of the old ones, in order or reversed, else None."""
    if isinstance(index, list | tuple) and len(index) == len(values):
        if all(i < len(old) and old[i] == value for i, value in zip(index, values, strict=True)):
            return [new[i] for i in index]
    if len(values) == 1:
        return [new[old.index(values[0])]] if at_top and values[0] in old else None
    for before, after in ((old, new), (old[::-1], new[::-1])):
        for start in range(len(before) - len(values) + 1):
            if list(before[start : start + len(values)]) == values:
                return list(after[start : start + len(values)])
    return None


def _left_alone(parent: dict, before: dict, path: tuple, old: tuple[int, ...], new: tuple[int, ...]) -> list[str]:
    """What in ``parent`` could name channels of the old maps, and is what it was ``before``."""
    return [
        f'{_dotted((*path, *item))} = {node[key]}'
        for item, key, node in _items({key: part for key, part in parent.items() if key != 'backbone'})
        if INPUT_KEY.search(str(key)) and type(node[key]) is int and node[key] == _at(before, item)
        if _new_number(node[key], None, old, new) != node[key]
    ]


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
                f'output {i} had stride {stride:g} and has {STRIDES[stage]} now: MogaNet has no dilation, '
                f'its strides are {", ".join(map(str, STRIDES))}'
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
    """The child config of ``base``, which is what ``_base_`` is to be."""
    imports = (cfg.get('custom_imports') or {}).get('imports', [])
    imports = [imports] if isinstance(imports, str) else list(imports)
    lines = [f'"""{title}."""', '']
    for notice in swap.notices:
        lines += [f'# {line}' for line in textwrap.wrap(notice, WIDTH - 2)]
    lines += [
        f'_base_ = {base!r}',
        f'custom_imports = {_source(dict(imports=[*imports, "moganet"]), 0)}',
        f'model = {_source(swap.model, 0)}',
    ]
    return '\n'.join(lines) + '\n'


def _source(value: object, indent: int) -> str:
    """``value`` as Python source in the style of the configs: dict(key=value), a line per key if it does not fit."""
    plain = all(isinstance(key, str) and key.isidentifier() for key in value) if isinstance(value, dict) else False
    if isinstance(value, dict):
        items = [f'{key}=' if plain else f'{key!r}: ' for key in value]
        open_, close, children = ('dict(', ')', value.values()) if plain else ('{', '}', value.values())
    elif isinstance(value, list | tuple) and any(isinstance(child, dict) for child in value):
        items, children = [''] * len(value), value
        open_, close = ('[', ']') if isinstance(value, list) else ('(', ')')
    else:
        return repr(value)
    parts = [item + _source(child, indent + 4) for item, child in zip(items, children, strict=True)]
    line = open_ + ', '.join(parts) + close
    if len(line) + indent <= WIDTH - 20 and '\n' not in line and not isinstance(value, tuple):
        return line
    inner = ' ' * (indent + 4)
    return open_ + '\n' + ''.join(f'{inner}{part},\n' for part in parts) + ' ' * indent + close


def verify(cfg: Config, original: Config, scope: str) -> tuple[bool, str]:
    """Build the swapped model and run it once on a small image. Returns whether it may be used, and what was found."""
    done, error = _attempt(cfg, original, scope)
    if error is None:
        return True, PROVEN
    text = f'the swapped model cannot be {STEPS[done]}'
    if done == 0 or _attempt(original, original, scope)[0] > done:
        return False, f'{text}: {_reason(error)}'
    return True, f'could not decide: {text} here, nor can the original ({_reason(error)})'


def _attempt(cfg: Config, original: Config, scope: str) -> tuple[int, Exception | None]:
    """How many of ``STEPS`` the model of ``cfg`` can take, and what the next one raised."""
    path, done = find_backbone(original.model), 0
    size = probe.image_size(cfg, _at(cfg.model, path))
    try:
        model = probe.build_model(cfg, path[:-1])
        done = 1
        probe.run_features(model, size)
        done = 2
        probe.run_heads(model, scope, size)
    except Exception as error:
        return done, error
    return len(STEPS), None


def _reason(error: Exception) -> str:
    return one_line(error) or type(error).__name__


def main(config: str, arch: str, out: str | None) -> int:
    """Write the swapped config to ``out``, else print it; 1 if the model that it describes cannot be built or run."""
    original = load(config)
    if not original.get('model'):
        raise ValueError(f'config {config} has no model')
    folder = os.path.dirname(out or '') or '.'
    base = config if '::' in config else os.path.relpath(config, folder)
    with probe.scope_of(original) as scope:
        swap = plan(original, arch)
        text = config_text(base, original, swap, f'{config} with MogaNet ({arch}) as its backbone')
        with tempfile.TemporaryDirectory() as scratch:
            child = Path(scratch, 'child.py')
            absolute = base if '::' in base else os.path.abspath(config)
            child.write_text(text.replace(f'_base_ = {base!r}', f'_base_ = {absolute!r}'))
            good, found = verify(Config.fromfile(child), original, scope)
    if out:
        os.makedirs(folder, exist_ok=True)
        Path(out).write_text(text)
    else:
        print(text, end='')
    undecided = [] if found == PROVEN else [f'could not decide: {line}' for line in swap.candidates]
    for line in [*swap.notices, *undecided, found]:
        print(line, file=sys.stderr)
    return 0 if good else 1
