"""How every tool reads a config: ``load_config``, its checks, and ``shrink`` for smoke runs."""

import difflib
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.config import utils as config_utils
from mmengine.runner import Runner

# MMEngine looks the scope mmseg up under the name of its old distribution, which the maintained fork does not have:
# without this `_base_ = 'mmseg::...'` fails.
config_utils.MODULE2PACKAGE['mmseg'] = 'mmseg'

# Keys that MMEngine's Runner and the MM packages' tools read at the top of a config.
RUNNER_KEYS = {
    *inspect.signature(Runner.__init__).parameters,
    *('custom_imports', 'runner_type', 'strategy', 'compile', 'tta_model', 'tta_pipeline', 'data_root'),
    *('activation_checkpointing', 'efficient_conv_bn_eval', 'vis_backends', 'work_dir'),
    *('model_wrapper_cfg', 'find_unused_parameters', 'sync_bn'),
} - {'self', 'cfg'}
# Variables that the MM packages' own configs name so near to a key that they would pass for a misspelling.
CONVENTIONS = ('train_pipeline', 'val_pipeline', 'test_pipeline', 'train_dataset', 'val_dataset', 'test_dataset')
DATALOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
EVALUATORS = ('val_evaluator', 'test_evaluator')


def load_config(path: str | os.PathLike, options: dict | None = None) -> Config:
    """Read a config, apply ``--cfg-options`` and look for misspelt keys.

    An option ``data_root=DIR`` moves every data set and evaluator file of the config that lies under its old root.

    Args:
        path: The config file.
        options: Dotted keys and their values.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file cannot be read as a config, or a key of it or of ``options`` looks misspelt.
    """
    cfg = _read(Path(path))
    for key in cfg:
        if key not in RUNNER_KEYS and key not in CONVENTIONS and not key.startswith('_'):
            # An unknown key may be a variable of the user's own, so only a near miss is an error.
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
    if not path.is_file():
        near = difflib.get_close_matches(path.name, [p.name for p in path.parent.glob('*.py')], n=3)
        hint = f'; near it: {", ".join(near)}' if near else ''
        raise FileNotFoundError(f'config {path} does not exist{hint}')
    try:
        return Config.fromfile(path)
    except Exception as error:
        # Reading a config runs it, so anything can be raised here, and all of it is the config's fault.
        raise ValueError(f'config {path} cannot be read: {type(error).__name__}: {error}') from error


def _refuse_near_miss(key: str, known: Iterator[str], where: str, cutoff: float) -> None:
    near = difflib.get_close_matches(key, list(known), n=1, cutoff=cutoff)
    if near:
        raise ValueError(f'{where} is unknown: did you mean {near[0]!r}?')


def _check_option(cfg: Config, option: str) -> None:
    """Refuse an option whose path leads nowhere, or whose last key is a near miss of one that is there."""
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
            if depth < len(parents) or 'type' not in node:  # else its class refuses what it does not know
                _refuse_near_miss(key, node, f'{where}key {key!r}', cutoff=0.8)
            return
        node = node[key]


def task_package(cfg: Config) -> str | None:
    """The task package ('mogacls', 'mogadet', ...) that a config imports, or None."""
    imports = cfg.get('custom_imports', {}).get('imports', [])
    names = [name for name in ([imports] if isinstance(imports, str) else imports) if name.startswith('moga')]
    return next((name for name in names if name != 'moganet'), None)


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
    """Let the data sets and evaluators of ``cfg`` read from ``new`` instead of their common root."""
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
    """Let a data set have ``number`` items, and each one that a wrapper such as RepeatDataset goes over."""
    inner = dataset.get('datasets') or [dataset['dataset']] if {'dataset', 'datasets'} & set(dataset) else []
    if not inner:
        dataset['indices'] = number
    if 'times' in dataset:
        dataset['times'] = 1
    for part in inner:
        keep_few(part, number)


def shrink(cfg: Config, iterations: int = 2) -> Config:
    """Make ``cfg`` a smoke run, in place: a few iterations of batch 2 and one short evaluation, no download.

    Everything else stays as it is, so that a run that passes has used the recipe's own parts.
    """
    batch_size = 2
    for name in DATALOADERS:
        if cfg.get(name):
            # Images that are tested one by one may differ in size.
            alone = name != 'train_dataloader' and cfg[name].get('batch_size') == 1
            cfg[name].update(batch_size=1 if alone else batch_size, num_workers=0, persistent_workers=False)
            keep_few(cfg[name].dataset, batch_size * iterations)
    if cfg.get('train_cfg'):
        by_epoch = 'max_epochs' in cfg.train_cfg
        cfg.train_cfg.update(
            dict(max_epochs=1, val_interval=1) if by_epoch else dict(max_iters=iterations, val_interval=iterations)
        )
        cfg.train_cfg.pop('dynamic_intervals', None)
        cfg.train_cfg.pop('val_begin', None)
    for node in dicts(cfg._cfg_dict):
        if (node.get('init_cfg') or {}) and 'Pretrained' in str(node['init_cfg']):
            node['init_cfg'] = None
        if node.get('type') == 'PreciseBNHook':
            node['num_samples'] = batch_size * iterations
        if node.get('type') in ('LoggerHook', 'CheckpointHook'):
            node['interval'] = 1
    cfg.load_from = None
    return cfg
