"""MogaNet for OpenMMLab: the core that every task shares. Importing it registers the backbone with MMEngine."""

from .backbone import MogaNet
from .fusion import fuse

__all__ = ['MogaNet', 'fuse']
__version__ = '0.2.0'
