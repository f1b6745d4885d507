"""Mini data for video prediction: real scans of digits in the files of Moving MNIST."""

import gzip
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image

from moganet.io.files import atomic_directory
from moganet.mini.digits import NUM_TRAIN, load_digit_splits
from moganet.run.config import DATALOADERS, dicts

from .datasets import CLIPS_FILE, FILES, IMAGE_MAGIC, IMAGES_FILE, IN_FRAMES, OUT_FRAMES
from .motion import moving_clip

ROOT = 'data/mini/video'
NUM_CLIPS = 100
SEED = 0
IMAGE_SIDE, DIGIT_SIDE = 28, 20  # in pixels, as in MNIST: each digit has a margin of 4


def make(root: str | Path = ROOT) -> str:
    """Write the mini data under ``root`` unless both files exist, and return a summary.

    Training clips use the scans of train, test clips the scans of val. Everything comes from a fixed seed. The folder
    is written atomically.
    """
    root = Path(root)
    summary = f'{root}: {NUM_TRAIN} scans of handwritten digits to make clips of, {NUM_CLIPS} clips of other scans'
    if all((root / name).is_file() for name in (IMAGES_FILE, CLIPS_FILE)):
        return summary
    with atomic_directory(root) as partial:
        scans = load_digit_splits()
        write_images(np.stack([enlarged(scan) for scan in scans['train'].images]), partial / IMAGES_FILE)
        images = np.stack([enlarged(scan) for scan in scans['val'].images])
        generators = np.random.default_rng(SEED).spawn(NUM_CLIPS)
        clips = [moving_clip(images, IN_FRAMES + OUT_FRAMES, generator) for generator in generators]
        np.save(partial / CLIPS_FILE, np.stack(clips, 1))
    return summary


def enlarged(scan: np.ndarray) -> np.ndarray:
    """Enlarge a scan (8, 8) uint8 to the size of MNIST's digits, centred in (28, 28) uint8."""
    digit = Image.fromarray(scan).resize((DIGIT_SIDE, DIGIT_SIDE), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(digit), (IMAGE_SIDE - DIGIT_SIDE) // 2)


def write_images(images: np.ndarray, path: str | Path) -> None:
    """Write images (N, height, width) uint8 in MNIST's format idx3-ubyte.gz, without a time stamp."""
    header = np.array([IMAGE_MAGIC, *images.shape], '>u4').tobytes()
    Path(path).write_bytes(gzip.compress(header + images.tobytes(), mtime=0))


def use(cfg: Config, root: str = ROOT) -> None:
    """Change a video config in place to read the mini data, and write the data if there are none."""
    make(root)
    for name in DATALOADERS:
        for node in dicts(cfg.get(name)):
            if node.get('type') in FILES:
                node.update(data_root=root, file=FILES[node['type']])
