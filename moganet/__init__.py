"""MogaNet for OpenMMLab: the core of all task packages. Importing it registers the backbone with MMEngine."""

from .backbone import MogaNet
from .fusion import fuse

__all__ = ['MogaNet', 'fuse']
__version__ = '0.2.0'
