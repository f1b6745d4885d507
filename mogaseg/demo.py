"""Demo of segmentation: train on photographs with scanned digits, then show predicted labels."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.evaluation import IoUMetric

from moganet.io.images import read_image
from moganet.mini.demo import next_commands, train

from . import mini
from .draw import Triple, draw_comparison

CONFIG = 'configs/seg/fpn_moganet_xt_mini.py'
NUM_SHOWN = 12


def run(cfg: Config) -> dict[str, float]:
    """Write the mini data, train ``cfg`` on them, draw predictions, print the results, return mmseg's metrics."""
    print(mini.make(cfg.train_dataloader.dataset.data_root), flush=True)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # mmseg warns about its own defaults
        runner, metrics = train(cfg, 'mIoU', lines_per_epoch=24)
    work_dir = Path(cfg.work_dir)
    meta = runner.val_dataloader.dataset.metainfo
    areas, triples, first = _predict(runner)
    picture = draw_comparison(triples, meta['classes'], meta['palette'], work_dir / 'predictions.png')
    print(f'\non {len(runner.val_dataloader.dataset)} photographs with digits that it never saw:')
    print(table(areas, meta['classes']))
    print(f'predictions: {picture}\n')
    print(next_commands(CONFIG, work_dir, first))
    return metrics


def table(areas: np.ndarray, classes: Sequence[str]) -> str:
    """Return IoU and accuracy of each class in percent, and their means, as text.

    Args:
        areas: Pixels per class, (4, classes): intersection, union, predicted, true.
        classes: Names of the classes.
    """
    intersection, union, _, truth = areas
    with np.errstate(invalid='ignore'):  # a class that never occurs has no IoU
        columns = [100 * intersection / union, 100 * intersection / truth]
    width = max(map(len, classes)) + 1
    lines = [f'{"":{width}}{"IoU":>7}{"Acc":>7}']
    for name, *values in zip(classes, *columns, strict=True):
        lines.append(f'{name:{width}}' + ''.join('      -' if np.isnan(value) else f'{value:7.1f}' for value in values))
    lines.append(f'{"mean":{width}}' + ''.join(f'{np.nanmean(column):7.1f}' for column in columns))
    return '\n'.join(lines)


@torch.no_grad()
def _predict(runner: Runner) -> tuple[np.ndarray, list[Triple], str]:
    """Predict the labels of the validation images.

    Returns:
        Pixels per class, (4, classes): intersection, union, predicted, true. The first images with true and predicted
        labels. The path of the first image.
    """
    runner.model.eval()
    classes = len(runner.val_dataloader.dataset.metainfo['classes'])
    areas = np.zeros((4, classes))
    triples: list[Triple] = []
    paths: list[str] = []
    for batch in runner.val_dataloader:
        for sample in runner.model.test_step(batch):
            predicted, truth = sample.pred_sem_seg.data[0].cpu(), sample.gt_sem_seg.data[0].cpu()
            areas += torch.stack(IoUMetric.intersect_and_union(predicted, truth, classes, 255)).numpy()
            if len(triples) < NUM_SHOWN:
                triples.append((read_image(sample.img_path), truth.numpy(), predicted.numpy()))
            paths.append(sample.img_path)
    return areas, triples, paths[0]
