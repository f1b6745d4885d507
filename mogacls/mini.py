"""Mini data for classification: scikit-learn's 1,797 real scans of handwritten digits as an ImageNet-style folder."""

from pathlib import Path

from mmengine.config import Config
from PIL import Image

from moganet.io.files import atomic_directory
from moganet.mini.digits import NUM_CLASSES, NUM_TRAIN, NUM_VAL, load_digit_splits
from moganet.run.config import DATALOADERS, dicts

ROOT = 'data/mini/cls'


def make(root: str | Path = ROOT) -> str:
    """Write the scans as grey PNGs of 8x8 pixels to ``root``/{train,val}/{0..9}/, and return a summary.

    Nothing is written if all files exist. The folder is written atomically.
    """
    root = Path(root)
    summary = f'{root}: {NUM_TRAIN} train and {NUM_VAL} val scans of handwritten digits, {NUM_CLASSES} classes'
    if len(list(root.glob('*/*/*.png'))) == NUM_TRAIN + NUM_VAL:
        return summary
    with atomic_directory(root) as partial:
        for split, scans in load_digit_splits().items():
            for pixels, label, index in zip(*scans, strict=True):
                folder = partial / split / str(label)
                folder.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(folder / f'{index:04d}.png')
    return summary


def use(cfg: Config, root: str = ROOT) -> None:
    """Change a classification config in place to read the mini data, and write the data if there are none."""
    make(root)
    for name in DATALOADERS:
        if cfg.get(name):
            split = 'train' if name == 'train_dataloader' else 'val'
            dataset = cfg[name].dataset
            cfg[name].dataset = dict(type='ImageFolder', data_root=root, split=split, pipeline=dataset.pipeline)
    for node in dicts([cfg.model, cfg.get('data_preprocessor')]):
        if 'num_classes' in node:
            node['num_classes'] = NUM_CLASSES
