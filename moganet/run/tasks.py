"""The tasks and the packages that add them. The core imports none by itself: a tool asks for the one it needs."""

import importlib
from types import ModuleType

from mmengine.config import Config

from .config import task_package

# Folder of configs/: package.
PACKAGES = {
    'cls': 'mogacls',
    'det': 'mogadet',
    'seg': 'mogaseg',
    'pose': 'mogapose',
    'expose': 'mogapose.expose',
    'video': 'mogavideo',
}
# Scopes of configs that import no task package: those of the MM packages themselves.
SCOPES = {'cls': 'mmpretrain', 'det': 'mmdet', 'seg': 'mmseg', 'pose': 'mmpose'}


def task_module(task: str, name: str) -> ModuleType:
    """Module ``name`` ('mini', 'complexity', ...) of a task's package, imported only now: it may load an MM package.

    Raises:
        ValueError: no such task, or its package or something that needs is not installed.
    """
    if task not in PACKAGES:
        raise ValueError(f'{task!r} is no task: expected one of {", ".join(PACKAGES)}')
    module = f'{PACKAGES[task]}.{name}'
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f'task {task!r} needs {module}, and {error.name} is not installed') from error


def task_of(cfg: Config) -> str:
    """The task of a config: the one whose package it imports, else the one of its ``default_scope``.

    Raises:
        ValueError: neither says which task it is.
    """
    imported = task_package(cfg)
    for task, package in PACKAGES.items():
        if imported == package or (imported is None and cfg.get('default_scope') == SCOPES.get(task, package)):
            return task
    raise ValueError(
        f'{cfg.filename} imports no task package and its default_scope is {cfg.get("default_scope")!r}: expected '
        f'custom_imports with one of {", ".join(PACKAGES.values())}, or one of the scopes {", ".join(SCOPES.values())}'
    )
