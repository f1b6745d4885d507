"""MogaNet for OpenMMLab: the core that every task shares. Importing it registers the backbone with MMEngine."""

from .backbone import MogaNet

__all__ = ['MogaNet']
__version__ = '0.1.0'
