"""Data sets of image folders, one folder per class: the layout of ImageNet and of most users' data."""

import os
import re
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.config import Config
from mmpretrain.datasets import CustomDataset
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES
from mmpretrain.datasets.custom import get_samples
from mmpretrain.registry import DATASETS

from moganet.io.readable import NamesBrokenImages
from moganet.run.preflight import datasets_of, register_check, register_layout

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


def check_folders(cfg: Config, dataloaders: Sequence[str]) -> None:
    """Compare the class folders of the splits with each other and with the head before anything is built.

    Args:
        cfg: The config of a run.
        dataloaders: Keys of the loaders to check.

    Raises:
        FileNotFoundError: a folder is missing; the message shows the layout.
        ValueError: the classes do not fit the splits, the head or ``topk``, or no training batch is full.
    """
    for name, dataset in datasets_of(cfg, dataloaders):
        if dataset.get('type') != 'ImageFolder':
            continue
        classes = find_classes(dataset['data_root'])
        check_split(Path(dataset['data_root'], dataset.get('split', 'train')), classes)
        expected = cfg.model.get('head', {}).get('num_classes')
        if expected is not None and expected != len(classes):
            raise ValueError(
                f'{dataset["data_root"]} ({name}) has {len(classes)} class folders and the head {expected} classes: '
                f'set --cfg-options model.head.num_classes={len(classes)}'
            )
        _check_topk(cfg, name.replace('dataloader', 'evaluator'), len(classes))
        if dataset.get('split') == 'train':
            _check_batch(cfg[name], Path(dataset['data_root'], 'train'))


def _check_topk(cfg: Config, evaluator: str, num_classes: int) -> None:
    """Check that no metric asks for more classes than there are."""
    metrics = cfg.get(evaluator) or []
    for metric in metrics if isinstance(metrics, list) else [metrics]:
        topk = metric.get('topk', 1)
        if np.max(topk) > num_classes:
            raise ValueError(
                f'{evaluator}.topk={topk} asks for more than the {num_classes} classes: '
                f'set --cfg-options {evaluator}.topk=1'
            )


def _check_batch(dataloader: dict, folder: Path) -> None:
    """Check that one batch is full. With drop_last, the loader would silently train on nothing otherwise."""
    if not dataloader.get('drop_last'):
        return
    needed = dataloader['batch_size'] * int(os.environ.get('WORLD_SIZE', 1))
    count = sum(1 for _ in islice((path for path in folder.glob('*/*') if path.is_file()), needed))
    if count < needed:
        raise ValueError(
            f'{folder} has {count} images, less than one batch of {needed}, and what does not fill a batch is dropped: '
            'set --cfg-options train_dataloader.batch_size=N or train_dataloader.drop_last=False'
        )


register_layout('ImageFolder', LAYOUT)
register_check(check_folders)
