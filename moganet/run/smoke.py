"""Smoke runs: two iterations and one evaluation of any config on the mini data of its task."""

from typing import Any

from mmengine.config import Config

from .config import shrink
from .tasks import find_task, task_of, task_package


def smaller(size: Any, factor: float) -> Any:
    """Return a length in pixels times ``factor``, at least 32. Each length of a list or tuple is scaled."""
    if isinstance(size, list | tuple):
        return type(size)(smaller(length, factor) for length in size)
    return max(32, round(size * factor))


def prepare(cfg: Config) -> None:
    """Point ``cfg`` at the mini data of its task and shrink it to a smoke run. Missing mini data are written first.

    Args:
        cfg: Changed in place.

    Raises:
        ValueError: the config imports no task package, so its mini data are unknown.
    """
    if task_package(cfg) is None:
        raise ValueError("--smoke: the config's custom_imports name no task package (mogacls, mogadet, ...)")
    find_task(task_of(cfg)).mini.use(cfg)
    shrink(cfg)
