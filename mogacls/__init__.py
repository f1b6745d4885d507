"""Image classification: additions of MogaNet's recipes to mmpretrain. Importing the package registers all parts."""

import contextlib
import io

import moganet  # noqa: F401  registers the backbone

# mmpretrain prints a line about a package that it can do without.
with contextlib.redirect_stdout(io.StringIO()):
    import mmpretrain.datasets  # noqa: F401

from moganet.run.tasks import Task

from . import preflight  # noqa: F401  registers its checks
from .datasets import ImageFolder
from .ema import WarmupEMA

__all__ = ['TASK', 'ImageFolder', 'WarmupEMA']

TASK = Task('cls', __name__, has_tta=True, has_benchmark=True)
