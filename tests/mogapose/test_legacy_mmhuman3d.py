"""MogaNet in a stand-in for MMHuman3D's registry; test_parity_mmhuman3d.py uses the real one."""

import importlib
import re
import sys
from types import ModuleType

import torch
from mmengine.registry import Registry

from moganet.arch import ARCHS

NAME = 'mogapose.legacy_mmhuman3d'


def test_importing_registers_the_backbone_that_mmhuman3d_builds(monkeypatch):
    parts = ['mmhuman3d', 'models', 'backbones', 'builder']
    for i in range(len(parts)):
        monkeypatch.setitem(sys.modules, '.'.join(parts[: i + 1]), ModuleType(parts[i]))
    builder = sys.modules['.'.join(parts)]
    builder.BACKBONES = Registry('backbones')
    monkeypatch.delitem(sys.modules, NAME, raising=False)
    module = importlib.import_module(NAME)
    backbone = builder.BACKBONES.build(dict(type='MogaNet', arch='xtiny', out_indices=(3,)))
    backbone.init_weights()
    maps = backbone(torch.zeros(1, 3, 64, 64))
    # Its head reads the last of several maps.
    assert isinstance(maps, tuple)
    assert [tuple(m.shape) for m in maps] == [(1, 192, 2, 2)]
    monkeypatch.delitem(sys.modules, NAME)
    widths = re.search(r'is the width of the last stage: ([\d, or]+), from xtiny to xlarge', module.__doc__)[1]
    expected = [ARCHS[name]['embed_dims'][-1] for name in ('xtiny', 'tiny', 'small', 'base', 'large', 'xlarge')]
    assert [int(width) for width in re.findall(r'\d+', widths)] == expected
