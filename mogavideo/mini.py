"""Mini data for video prediction: real scans of digits in the files that Moving MNIST has."""

import gzip
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image

from moganet.io.files import atomic_directory
from moganet.mini.digits import NUM_TRAIN, load_scans
from moganet.run.config import DATALOADERS, dicts

from .clips import moving
from .datasets import CLIPS_FILE, FILES, IMAGE_MAGIC, IMAGES_FILE, IN_FRAMES, OUT_FRAMES

ROOT = 'data/mini/video'
NUM_CLIPS = 100
SEED = 0
IMAGE_SIDE, DIGIT_SIDE = 28, 20  # in pixels, as in MNIST: a margin of 4 around each digit


def make(root: str | Path = ROOT) -> str:
    """Write the two files under ``root``, nothing if they are there. Returns a summary.

    The images that training clips are made of are the scans of train, the test clips show scans of val. Everything
    comes from a fixed seed. The folder appears whole or not at all.
    """
    root = Path(root)
    summary = f'{root}: {NUM_TRAIN} scans of handwritten digits to make clips of, {NUM_CLIPS} clips of other scans'
    if all((root / name).is_file() for name in (IMAGES_FILE, CLIPS_FILE)):
        return summary
    with atomic_directory(root) as partial:
        scans = load_scans()
        write_images(np.stack([enlarged(scan) for scan in scans['train'].images]), partial / IMAGES_FILE)
        others = np.stack([enlarged(scan) for scan in scans['val'].images])
        streams = np.random.default_rng(SEED).spawn(NUM_CLIPS)
        clips = [moving(others, IN_FRAMES + OUT_FRAMES, stream) for stream in streams]
        np.save(partial / CLIPS_FILE, np.stack(clips, 1))
    return summary


def enlarged(scan: np.ndarray) -> np.ndarray:
    """A scan (8, 8) uint8 as large as MNIST's digits, in the middle of (28, 28) uint8."""
    digit = Image.fromarray(scan).resize((DIGIT_SIDE, DIGIT_SIDE), Image.Resampling.BICUBIC)
    return np.pad(np.asarray(digit), (IMAGE_SIDE - DIGIT_SIDE) // 2)


def write_images(images: np.ndarray, path: str | Path) -> None:
    """Write (N, height, width) uint8 in MNIST's format idx3-ubyte.gz, the same bytes whenever it is written."""
    header = np.array([IMAGE_MAGIC, *images.shape], '>u4').tobytes()
    Path(path).write_bytes(gzip.compress(header + images.tobytes(), mtime=0))


def use(cfg: Config, root: str = ROOT) -> None:
    """Point a video config at the mini data, writing them if they are not there, in place."""
    make(root)
    for name in DATALOADERS:
        for node in dicts(cfg.get(name)):
            if node.get('type') in FILES:
                node.update(data_root=root, file=FILES[node['type']])
