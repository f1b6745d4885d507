"""Makes MMHuman3D 0.11.0 with mmcv 1.6.1 run on a Python and a torch that are newer than it, without a GPU.

Import this before it. What is changed, and why, is all here; nothing of it changes a number.
"""

import importlib.abc
import importlib.machinery
import sys
import types

import torch

# Imported by modules on the way to ExPose and never called by it; what is subclassed at import time needs a class.
NOT_CALLED = ('pytorch3d', 'colormap', 'easydev', 'vedo', 'h5py', 'cdflib', 'plyfile', 'astropy', 'pickle5')


class Empty(types.ModuleType):
    """A module in which any name is an empty class."""

    def __getattr__(self, name: str) -> type:
        if name.startswith('__'):
            raise AttributeError(name)
        return type(name, (), {})


class EmptyModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds those of ``NOT_CALLED``, whether they are installed or not."""

    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in NOT_CALLED:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return Empty(spec.name)

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, EmptyModules())
# MANO's key points are put into a tensor on the GPU, whatever device the model is on.
torch.Tensor.cuda = lambda self, *args, **kwargs: self
