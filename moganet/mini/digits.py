"""The real pixels of the mini data: scikit-learn's 1,797 scans of handwritten digits, split once for every task."""

from typing import NamedTuple

import numpy as np

NUM_TRAIN, NUM_VAL, NUM_CLASSES = 1437, 360, 10
SPLIT_SEED = 0
# The scans have 17 grey levels, 0 (paper) to 16 (ink).
MAX_LEVEL = 16


class Scans(NamedTuple):
    """Scans of one split: ``images`` (N, 8, 8) uint8, 255 is ink; ``labels`` (N,); ``indices`` (N,) in the source."""

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


def load_scans() -> dict[str, Scans]:
    """'train' and 'val', 1,437 and 360 scans in a fixed random order: no scan of val is in the train of any task."""
    from sklearn.datasets import load_digits  # not needed by those who train on data of their own

    digits = load_digits()
    order = np.random.RandomState(SPLIT_SEED).permutation(len(digits.target))
    images = np.round(digits.images * (255 / MAX_LEVEL)).astype(np.uint8)
    parts = dict(train=order[:NUM_TRAIN], val=order[NUM_TRAIN:])
    return {split: Scans(images[indices], digits.target[indices], indices) for split, indices in parts.items()}
