"""Handwritten digits of the mini data and the demos: scikit-learn's 1,797 scans, split once for all tasks."""

from typing import NamedTuple

import numpy as np

NUM_TRAIN, NUM_VAL, NUM_CLASSES = 1437, 360, 10
SPLIT_SEED = 0
# scikit-learn has 17 grey levels, 0 (paper) to 16 (ink).
MAX_LEVEL = 16


class Digits(NamedTuple):
    """Digits of one split.

    Attributes:
        images: (N, 8, 8) uint8; 255 is ink.
        labels: (N,), 0 to 9.
        indices: (N,), positions in scikit-learn's data set.
    """

    images: np.ndarray
    labels: np.ndarray
    indices: np.ndarray


def load_digit_splits() -> dict[str, Digits]:
    """Return the splits 'train' and 'val', 1,437 and 360 digits in a fixed random order.

    All tasks use these splits, so that no digit of val is in the train split of any task.
    """
    from sklearn.datasets import load_digits  # users who train on their own data need no scikit-learn

    digits = load_digits()
    order = np.random.RandomState(SPLIT_SEED).permutation(len(digits.target))
    images = np.round(digits.images * (255 / MAX_LEVEL)).astype(np.uint8)
    splits = dict(train=order[:NUM_TRAIN], val=order[NUM_TRAIN:])
    return {split: Digits(images[indices], digits.target[indices], indices) for split, indices in splits.items()}
