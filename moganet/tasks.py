"""The tasks and the packages that add them. The core imports none by itself: a tool asks for the one it needs."""

import importlib
from types import ModuleType

from mmengine.config import Config

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
    imports = cfg.get('custom_imports', {}).get('imports', [])
    imports = [imports] if isinstance(imports, str) else imports
    for task, package in PACKAGES.items():
        if package in imports or cfg.get('default_scope') == SCOPES.get(task):
            return task
    raise ValueError(
        f'{cfg.filename}: which task it is remains open: expected one of {", ".join(PACKAGES.values())} among its '
        f'custom_imports, or one of {", ".join(SCOPES.values())} as default_scope'
    )
