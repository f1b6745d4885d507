"""Video prediction: SimVP with MogaNet and eleven other translators. Importing it registers all of it."""

import moganet  # noqa: F401  registers the backbone

from . import datasets, hooks, metrics, preflight  # noqa: F401  registers
from .preprocessor import FramePreprocessor
from .simvp import SimVP

__all__ = ['FramePreprocessor', 'SimVP']
