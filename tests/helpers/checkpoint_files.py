"""Small checkpoints of every layout, and files that try to run code."""

import os
from pathlib import Path

import torch
from torch import nn

from moganet import MogaNet

ARCH = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 2, 1), ffn_ratios=(2, 2, 2, 2))
CLASSES = 5
# 36 per block, 14 in the stem, 7 in each later embedding, 5 in each stage's norm.
TENSORS = 36 * 5 + 14 + 7 * 3 + 5 * 4


def backbone(**options) -> MogaNet:
    return MogaNet(**dict(dict(arch=ARCH), **options))


class Classifier(nn.Module):
    """Named as mmpretrain's ImageClassifier names its parts."""

    def __init__(self, classes=CLASSES, **options):
        super().__init__()
        self.backbone = backbone(**options)
        self.head = nn.Module()
        self.head.fc = nn.Linear(self.backbone.embed_dims[-1], classes)


class Detector(nn.Module):
    """Named as mmdet's detectors name their parts."""

    def __init__(self, **options):
        super().__init__()
        self.backbone = backbone(**options)
        self.neck = nn.Conv2d(32, 4, 1)
        self.bbox_head = nn.Conv2d(4, 3, 1)


def official(classes=CLASSES, **options) -> dict:
    """A state dict as the official release names it, with random values throughout."""
    state = {
        name: torch.rand(value.shape) if value.is_floating_point() else torch.tensor(7)
        for name, value in backbone(**options).state_dict().items()
    }
    width = options.get('arch', ARCH)
    width = width['embed_dims'][-1] if isinstance(width, dict) else state['norm4.weight'].shape[0]
    return state | {'head.weight': torch.rand(classes, width), 'head.bias': torch.rand(classes)}


def mmpretrain(**options) -> dict:
    """The same under OpenMixup's and mmpretrain's names."""
    return {
        name.replace('head.', 'head.fc.') if name.startswith('head.') else f'backbone.{name}': value
        for name, value in official(**options).items()
    }


class Runs:
    """Pickles into a call of ``function``."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def command(marker: Path) -> Runs:
    """Pickles into a shell command that writes ``marker``."""
    return Runs(os.system, f'echo ran > {marker}')
