"""Checks of classification data before anything is built: class folders, head, metrics and batch fit each other."""

import os
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import numpy as np
from mmengine.config import Config

from moganet.run.preflight import datasets_of, register_check, register_layout

from .datasets import LAYOUT, check_split, find_classes


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
