"""Makes MMHuman3D 0.11.0 with mmcv 1.6.1 run without a GPU on newer versions of Python and torch.

Import this module first. It contains all changes with their reasons; none changes a number.
"""

import importlib.abc
import importlib.machinery
import sys
import types

import torch

# Modules that ExPose's modules import and never call. Some names are subclassed at import, so they must be classes.
NOT_CALLED = ('pytorch3d', 'colormap', 'easydev', 'vedo', 'h5py', 'cdflib', 'plyfile', 'astropy', 'pickle5')


class Empty(types.ModuleType):
    """A module with an empty class for any name."""

    def __getattr__(self, name: str) -> type:
        if name.startswith('__'):
            raise AttributeError(name)
        return type(name, (), {})


class EmptyModules(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the modules of ``NOT_CALLED``, installed or not."""

    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in NOT_CALLED:
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        return Empty(spec.name)

    def exec_module(self, module):
        pass


sys.meta_path.insert(0, EmptyModules())
# MMHuman3D puts MANO's key points on the GPU, whichever device the model uses.
torch.Tensor.cuda = lambda self, *args, **kwargs: self
