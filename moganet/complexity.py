"""What a count of parameters and multiply-adds is. ``complexity.py`` of each task does the counting.

That file of a task has ``PAPER_COUNTER``, the counter behind the paper's digits, ``default_shape(cfg)``, the (H, W) its
config is tested at, and ``count(cfg, shape, counter)``.
"""

from dataclasses import dataclass

from mmengine.config import Config

from .config import task_package
from .tasks import PACKAGES

# What each counter includes. A multiply-add (MAC) counts as one; the paper calls them FLOPs.
COUNTERS = {
    'mmcv': 'convolutions with their biases, linear layers without, 2 per element of a norm, 1 per input of a pooling '
    'layer; not: GELU, SiLU, means, products and sums of maps',
    'fvcore': 'convolutions and linear layers without biases, 2 per element of a norm, 1 per input of a pooling layer; '
    'not: GELU, SiLU, means, products and sums of maps',
}
# MMEngine scopes of configs that import no package of ours, and the tasks they are.
SCOPES = {'mmpretrain': 'cls', 'mmdet': 'det', 'mmseg': 'seg', 'mmpose': 'pose'}


@dataclass(frozen=True)
class Complexity:
    """Size and cost of a network for one image of ``shape`` (H, W)."""

    parameters: int
    backbone_parameters: int
    macs: int
    shape: tuple[int, int]
    counter: str


def task_of(cfg: Config) -> str:
    """The task of a config: the one whose package it imports, else the one of its ``default_scope``.

    Raises:
        ValueError: neither says which task it is.
    """
    by_package = {package: task for task, package in PACKAGES.items()}
    task = by_package.get(task_package(cfg)) or SCOPES.get(cfg.get('default_scope'))
    if task is None:
        raise ValueError(
            f'{cfg.filename} imports no task package and its default_scope is {cfg.get("default_scope")!r}: '
            f'expected custom_imports with one of {", ".join(by_package)}, or one of the scopes {", ".join(SCOPES)}'
        )
    return task
