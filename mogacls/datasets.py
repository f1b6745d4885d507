"""Data sets of image folders, one folder per class: the layout of ImageNet and of most users' data."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES
from mmpretrain.datasets.custom import get_samples
from mmpretrain.registry import DATASETS

from moganet.io.readable import NamesBrokenImages

LAYOUT = 'train/<class>/*.jpg and val/<class>/*.jpg, one folder per class'


def class_folders(folder: str | Path) -> list[str]:
    """Return the names of the folders in ``folder``, sorted. Hidden folders (.ipynb_checkpoints) are left out."""
    return sorted(entry.name for entry in Path(folder).iterdir() if entry.is_dir() and not entry.name.startswith('.'))


def find_classes(data_root: str | Path) -> list[str]:
    """Return the names of the class folders of ``data_root``/train, sorted.

    Raises:
        FileNotFoundError: the folder does not exist or has no class folders; the message shows the layout.
    """
    train = Path(data_root, 'train')
    classes = class_folders(train) if train.is_dir() else []
    if not classes:
        raise FileNotFoundError(f'{train} holds no class folders; expected {LAYOUT}, under {data_root}')
    return classes


@DATASETS.register_module()
class ImageFolder(NamesBrokenImages, CustomDataset):
    """Images under ``data_root``/``split``/<class>/. The folders of ``data_root``/train are the classes of all splits.

    mmpretrain's CustomDataset numbers the folders of each split separately, so an extra folder in val shifts all later
    labels. This class raises an error instead. ImageNet's 1,000 folders get their English names.

    Args:
        data_root: Folder of the splits.
        split: 'train', 'val' or any other folder in ``data_root``.
        **kwargs: Arguments of mmpretrain's CustomDataset: pipeline, indices, extensions, ...

    Raises:
        FileNotFoundError: a folder is missing; the message shows the layout.
        ValueError: the split has a class folder that train lacks, no images, or an image that cannot be read.
    """

    def __init__(self, data_root: str, split: str = 'train', **kwargs: Any) -> None:
        self.folders = find_classes(data_root)
        names = self.folders
        if len(names) == len(IMAGENET_CATEGORIES) and all(re.fullmatch(r'n\d{8}', name) for name in names):
            names = IMAGENET_CATEGORIES
        super().__init__(data_root=data_root, data_prefix=split, metainfo=dict(classes=tuple(names)), **kwargs)

    def _find_samples(self) -> list[tuple[str, int]]:
        """Return (path, label) of all images of the split."""
        check_split(self.img_prefix, self.folders)
        present = set(class_folders(self.img_prefix))
        indices = {folder: i for i, folder in enumerate(self.folders) if folder in present}
        samples, _ = get_samples(self.img_prefix, indices, is_valid_file=self.is_valid_file)
        if not samples:
            raise ValueError(
                f'{self.img_prefix} holds no images ({", ".join(sorted(self.extensions))}); expected {LAYOUT}'
            )
        return samples

    def get_data_info(self, idx: int) -> dict:
        """Return the record of image ``idx``, with ``num_classes`` for Mixup and CutMix."""
        return dict(super().get_data_info(idx), num_classes=len(self.CLASSES))


def check_split(folder: str | Path, classes: Sequence[str]) -> None:
    """Check that the folder of a split exists and that train has all its class folders.

    Raises:
        FileNotFoundError: the folder does not exist; the message shows the layout.
        ValueError: a class folder is not in ``classes``.
    """
    if not Path(folder).is_dir():
        raise FileNotFoundError(f'{folder} does not exist; expected {LAYOUT}')
    unknown = sorted(set(class_folders(folder)) - set(classes))
    if unknown:
        raise ValueError(
            f'{folder} has the class folder {unknown[0]!r}, which train has not ({len(unknown)} such in '
            f'all, {len(classes)} in train): remove it or add it to train'
        )
