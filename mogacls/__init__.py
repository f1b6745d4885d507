"""Image classification: what MogaNet's recipes need beside mmpretrain. Importing it registers all of it."""

import moganet  # noqa: F401  registers the backbone

from .datasets import ImageFolder
from .ema import WarmupEMA

__all__ = ['ImageFolder', 'WarmupEMA']
