"""Checks of a config against the data on disk, before anything expensive starts.

A task package registers what it knows of its data sets' layouts and the checks of its own; it is imported by the
config, so the core needs to know no task.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from mmengine.config import Config

from .config import dicts

_LAYOUTS: dict[str, str] = {}
_CHECKS: list[Callable[[Config, Sequence[str]], None]] = []


def register_layout(dataset_type: str, layout: str) -> None:
    """Say how the files of a data set must lie, for the message that names a missing folder."""
    _LAYOUTS[dataset_type] = layout


def register_check(check: Callable[[Config, Sequence[str]], None]) -> None:
    """Add a check of (config, names of the loaders in use). It raises ValueError or FileNotFoundError."""
    if check not in _CHECKS:
        _CHECKS.append(check)


def datasets_of(cfg: Config, dataloaders: Sequence[str]) -> list[tuple[str, dict]]:
    """(name of the loader, config of a data set) for every data set with a root, wrapped ones too."""
    return [(name, node) for name in dataloaders for node in dicts(cfg.get(name)) if node.get('data_root')]


def check_data(cfg: Config, dataloaders: Sequence[str]) -> None:
    """Look for the data that the loaders named will read, then run the checks of the tasks.

    Raises:
        FileNotFoundError: a data set's root is missing; the message shows the layout that is expected.
        ValueError: what a task's check finds.
    """
    for name, dataset in datasets_of(cfg, dataloaders):
        root = str(dataset['data_root'])
        if '://' not in root and not Path(root).is_dir():
            layout = _LAYOUTS.get(dataset.get('type'), '')
            mini = Path(root).parts[:2] == ('data', 'mini')
            raise FileNotFoundError(
                f'data_root {root!r} of {name} does not exist'
                + (f'; expected there: {layout}' if layout else '')
                + (f'; python tools/make_mini_data.py --task {Path(root).name} writes it' if mini else '')
                + '; choose another with --cfg-options data_root=DIR'
            )
    for check in _CHECKS:
        check(cfg, dataloaders)
