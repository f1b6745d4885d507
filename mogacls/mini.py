"""Mini data for classification: scikit-learn's 1,797 real scans of handwritten digits as an ImageNet-style folder."""

import os
import shutil
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image

from moganet.config import DATALOADERS, walk

ROOT = 'data/mini/cls'
NUM_TRAIN, NUM_VAL, NUM_CLASSES = 1437, 360, 10
SPLIT_SEED = 0


def make(root: str | Path = ROOT) -> str:
    """Write the scans, 8x8 grey PNGs, under ``root``/{train,val}/{0..9}/; nothing if they are there. Returns a summary.

    The split of 1,437 and 360 comes from a fixed seed. The folder appears whole or not at all.
    """
    from sklearn.datasets import load_digits

    root = Path(root)
    summary = f'{root}: {NUM_TRAIN} train and {NUM_VAL} val scans of handwritten digits, {NUM_CLASSES} classes'
    if len(list(root.glob('*/*/*.png'))) == NUM_TRAIN + NUM_VAL:
        return summary
    digits = load_digits()
    order = np.random.RandomState(SPLIT_SEED).permutation(len(digits.target))
    partial = root.with_name(f'{root.name}.{os.getpid()}.part')
    for position, index in enumerate(order):
        split = 'train' if position < NUM_TRAIN else 'val'
        folder = partial / split / str(digits.target[index])
        folder.mkdir(parents=True, exist_ok=True)
        # The scans have 17 grey levels, 0 (paper) to 16 (ink).
        pixels = np.round(digits.images[index] * (255 / 16)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f'{index:04d}.png')
    shutil.rmtree(root, ignore_errors=True)
    try:
        os.rename(partial, root)
    except OSError:
        # Another process was first: what it wrote is the same.
        shutil.rmtree(partial)
    return summary


def use(cfg: Config, root: str = ROOT) -> None:
    """Point a classification config at the mini data, writing them if they are not there, in place."""
    make(root)
    for name in DATALOADERS:
        if cfg.get(name):
            split = 'train' if name == 'train_dataloader' else 'val'
            dataset = cfg[name].dataset
            cfg[name].dataset = dict(type='ImageFolder', data_root=root, split=split, pipeline=dataset.pipeline)

    def ten_classes(node: dict) -> None:
        if 'num_classes' in node:
            node['num_classes'] = NUM_CLASSES

    walk([cfg.model, cfg.get('data_preprocessor', {})], ten_classes)
