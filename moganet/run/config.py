"""Reading of configs for every tool: ``load_config`` with its checks, and ``shrink`` for smoke runs."""

import difflib
import inspect
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config import utils as config_utils
from mmengine.runner import Runner

# MMEngine looks for the scope mmseg under the name of its old distribution, which the maintained fork lacks.
# Without this line, `_base_ = 'mmseg::...'` fails.
config_utils.MODULE2PACKAGE['mmseg'] = 'mmseg'

# Keys that MMEngine's Runner and the MM packages' tools read at the top of a config.
RUNNER_KEYS = {
    *inspect.signature(Runner.__init__).parameters,
    *('custom_imports', 'runner_type', 'strategy', 'compile', 'tta_model', 'tta_pipeline', 'data_root'),
    *('activation_checkpointing', 'efficient_conv_bn_eval', 'vis_backends', 'work_dir'),
    *('model_wrapper_cfg', 'find_unused_parameters', 'sync_bn'),
} - {'self', 'cfg'}
# Variables of the MM packages' own configs whose names are so close to a key that they look like misspelt keys.
CONVENTIONS = ('train_pipeline', 'val_pipeline', 'test_pipeline', 'train_dataset', 'val_dataset', 'test_dataset')
DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
EVALUATORS = ('val_evaluator', 'test_evaluator')


def load_config(path: str | os.PathLike, options: dict | None = None) -> Config:
    """Read a config, apply ``--cfg-options`` and refuse misspelt keys.

    An option ``data_root=DIR`` replaces the old root in the paths of all data sets and evaluators of the config.

    Args:
        path: The config file.
        options: Dotted keys and their values.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no config, an option does not fit it, or a key of either looks misspelt.
    """
    cfg = _read(Path(path))
    for key in cfg:
        if key not in RUNNER_KEYS and key not in CONVENTIONS and not key.startswith('_'):
            # An unknown key may be the user's own variable, so only a key close to a known one is an error.
            _refuse_near_miss(key, RUNNER_KEYS, f'{path}: top-level key {key!r}', cutoff=0.9)
    options = dict(options or {})
    if 'data_root' in options:
        _move_data(cfg, str(options.pop('data_root')))
    for key in options:
        _check_option(cfg, key)
    try:
        cfg.merge_from_dict(options)
    except (KeyError, TypeError) as error:
        raise ValueError(f'--cfg-options {options} do not fit {path}: {error}') from error
    return cfg


def _read(path: Path) -> Config:
    """Read a config file; raise FileNotFoundError or ValueError with one line."""
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob('*.py')], n=3)
        hint = f'; near it: {", ".join(near)}' if near else ''
        raise FileNotFoundError(f'config {path} does not exist{hint}')
    try:
        return Config.fromfile(path)
    except Exception as error:
        # Reading a config runs it, so it can raise any exception, each of which is a fault of the config.
        raise ValueError(f'config {path} cannot be read: {type(error).__name__}: {error}') from error


def _refuse_near_miss(key: str, known: Iterable[str], where: str, cutoff: float) -> None:
    """Raise ValueError if ``key`` is close to one of the ``known`` keys."""
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=cutoff)
    if near:
        raise ValueError(f'{where} is unknown: did you mean {near[0]!r}?')


def _check_option(cfg: Config, option: str) -> None:
    """Raise ValueError for an option whose parents do not exist, or whose last key is close to an existing one."""
    node = cfg
    *parents, last = option.split('.')
    where = f'--cfg-options {option}: '
    for depth, key in enumerate([*parents, last]):
        if isinstance(node, list | tuple):
            if not key.isdigit() or int(key) >= len(node):
                raise ValueError(f'{where}{key!r} is no index of a list of {len(node)}')
            node = node[int(key)]
            continue
        if not hasattr(node, 'keys'):
            raise ValueError(f'{where}{".".join(parents[:depth])!r} is a value, not a dict: nothing lies below it')
        if key not in node:
            if depth == 0 and key not in RUNNER_KEYS:
                near = difflib.get_close_matches(key, [*node, *RUNNER_KEYS], n=1)
                hint = f': did you mean {near[0]!r}?' if near else f'; there are {", ".join(map(str, node))}'
                raise ValueError(f'{where}no key {key!r} in the config{hint}')
            if depth < len(parents) or 'type' not in node:  # a class refuses unknown arguments itself
                _refuse_near_miss(key, node, f'{where}key {key!r}', cutoff=0.8)
            return
        node = node[key]


def dicts(node: Any) -> Iterator[dict]:
    """Yield every dict inside a config, list or tuple, outermost first; nothing for any other value.

    The caller may change a dict as it is yielded: the walk goes on with its new values.
    """
    if isinstance(node, dict):
        yield node
        node = node.values()
    elif not isinstance(node, list | tuple):
        return
    for child in list(node):
        yield from dicts(child)


def _move_data(cfg: Config, new: str) -> None:
    """Replace the common root of all data sets by ``new`` in the paths of data sets and evaluators."""
    nodes = (node for name in DATALOADERS for node in dicts(cfg.get(name)))
    roots = sorted({node['data_root'] for node in nodes if node.get('data_root')})
    if len(roots) != 1:
        found = ', '.join(roots) or 'none'
        raise ValueError(
            f'--cfg-options data_root={new}: the data sets of this config have no single root (found: {found}); '
            'set each one by itself, as in train_dataloader.dataset.data_root=...'
        )
    old = roots[0].rstrip('/')
    for node in dicts([cfg.get(name) for name in (*DATALOADERS, *EVALUATORS)]):
        for key, value in node.items():
            if isinstance(value, str) and (value == old or value.startswith(old + '/')):
                node[key] = new.rstrip('/') + value[len(old) :]
    if 'data_root' in cfg:
        cfg.data_root = new


def keep_few(dataset: dict, number: int) -> None:
    """Limit a data set, or each one inside a wrapper such as RepeatDataset, to its first items.

    Args:
        dataset: Config of the data set, changed in place.
        number: Number of items.
    """
    wrapped = dataset.get('datasets') or [dataset['dataset']] if {'dataset', 'datasets'} & set(dataset) else []
    if not wrapped:
        dataset['indices'] = number
    if 'times' in dataset:
        dataset['times'] = 1
    for inner in wrapped:
        keep_few(inner, number)


def shrink(cfg: Config, iterations: int = 2) -> Config:
    """Make ``cfg`` a smoke run: a few iterations of batch 2 and one short evaluation, without downloads.

    All other settings stay, so that the smoke run tests the model, pipelines and hooks of the recipe.

    Args:
        cfg: Changed in place.
        iterations: Number of training iterations.

    Returns:
        ``cfg``.
    """
    batch_size = 2
    for name in DATALOADERS:
        if cfg.get(name):
            # An evaluation with batch size 1 may have images of different sizes.
            single = name != 'train_dataloader' and cfg[name].get('batch_size') == 1
            cfg[name].update(batch_size=1 if single else batch_size, num_workers=0, persistent_workers=False)
            keep_few(cfg[name].dataset, batch_size * iterations)
    if cfg.get('train_cfg'):
        by_epoch = 'max_epochs' in cfg.train_cfg
        cfg.train_cfg.update(
            dict(max_epochs=1, val_interval=1) if by_epoch else dict(max_iters=iterations, val_interval=iterations)
        )
        cfg.train_cfg.pop('dynamic_intervals', None)
        cfg.train_cfg.pop('val_begin', None)
    for node in dicts(list(cfg.values())):
        if (node.get('init_cfg') or {}) and 'Pretrained' in str(node['init_cfg']):
            node['init_cfg'] = None
        if node.get('type') == 'PreciseBNHook':
            node['num_samples'] = batch_size * iterations
        if node.get('type') in ('LoggerHook', 'CheckpointHook'):
            node['interval'] = 1
    cfg.load_from = None
    return cfg
