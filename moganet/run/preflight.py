"""Checks of a config against the data on disk, before an expensive step starts.

A task package registers the layouts of its data sets and its own checks. The config imports the package, so the core
does not.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.config import Config

from .config import dicts

_LAYOUTS: dict[str, str] = {}
_CHECKS: list[Callable[[Config, Sequence[str]], None]] = []


def register_layout(dataset_type: str, layout: str) -> None:
    """Register the expected files of a data set, for the message that names a missing folder.

    Args:
        dataset_type: Name of the data set's class.
        layout: The files, in words.
    """
    _LAYOUTS[dataset_type] = layout


def register_check(check: Callable[[Config, Sequence[str]], None]) -> None:
    """Register a check of a task.

    Args:
        check: Called with the config and the names of the loaders in use. Raises ValueError or FileNotFoundError.
    """
    if check not in _CHECKS:
        _CHECKS.append(check)


def datasets_of(cfg: Config, dataloaders: Sequence[str]) -> list[tuple[str, dict]]:
    """Return (name of its loader, its config) of every data set that has a ``data_root``, also inside wrappers."""
    return [(name, node) for name in dataloaders for node in dicts(cfg.get(name)) if node.get('data_root')]


def check_data(cfg: Config, dataloaders: Sequence[str]) -> None:
    """Check that the data of some loaders exist, then run the checks of the tasks.

    Args:
        cfg: A task's check may change it.
        dataloaders: Names of the loaders in use, such as 'train_dataloader'.

    Raises:
        FileNotFoundError: the root of a data set does not exist. The message shows the expected layout.
        ValueError: a task's check fails.
    """
    for name, dataset in datasets_of(cfg, dataloaders):
        root = str(dataset['data_root'])
        if '://' not in root and not Path(root).is_dir():
            layout = _LAYOUTS.get(dataset.get('type', ''), '')
            mini = Path(root).parts[:2] == ('data', 'mini')
            raise FileNotFoundError(
                f'data_root {root!r} of {name} does not exist'
                + (f'; expected there: {layout}' if layout else '')
                + (f'; python tools/make_mini_data.py --task {Path(root).name} writes it' if mini else '')
                + '; choose another with --cfg-options data_root=DIR'
            )
    for check in _CHECKS:
        check(cfg, dataloaders)
