"""Smoke runs: any config, two iterations and one evaluation on the task's mini data."""

from mmengine.config import Config

from .config import shrink, task_package
from .tasks import find_task, task_of


def smaller(size: object, factor: float) -> object:
    """A length in pixels times ``factor``, at least 32; of pairs and lists, each length."""
    if isinstance(size, list | tuple):
        return type(size)(smaller(part, factor) for part in size)
    return max(32, round(size * factor))


def prepare(cfg: Config) -> None:
    """Point ``cfg`` at the mini data of its task, writing that first if need be, and shrink it.

    Raises:
        ValueError: the config imports no task package, so nothing says which mini data fit.
    """
    if task_package(cfg) is None:
        raise ValueError("--smoke: the config's custom_imports name no task package (mogacls, mogadet, ...)")
    find_task(task_of(cfg)).mini.use(cfg)
    shrink(cfg)
