"""Video prediction: SimVP with MogaNet and eleven other translators. Importing the package registers all parts."""

import moganet  # noqa: F401  registers the backbone
from moganet.run.tasks import Task

from . import datasets, hooks, metrics, preflight  # noqa: F401  registers
from .clip_files import find_inputs
from .preprocessor import FramePreprocessor
from .simvp import SimVP

__all__ = ['TASK', 'FramePreprocessor', 'SimVP']

TASK = Task('video', __name__, find_inputs, nouns=('clip', 'translator'), has_benchmark=True)
