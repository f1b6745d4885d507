"""The demo of 2D pose, which trains on photographs with articulated figures and draws the predictions."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.structures import InstanceData

from moganet.io.images import draw_grid, read_image
from moganet.mini.demo import next_commands, train

from . import mini
from .draw import draw_skeletons

CONFIG = 'configs/pose/moganet_xt_mini.py'
NUM_SHOWN = 6


def run(cfg: Config) -> dict[str, float]:
    """Write the mini data, train, draw predictions, and print a summary.

    Args:
        cfg: The config to train.

    Returns:
        The metrics.
    """
    print(mini.make(cfg.train_dataloader.dataset.data_root), flush=True)
    runner, metrics = train(cfg, 'coco/PCK', lines_per_epoch=2)
    work_dir = Path(cfg.work_dir)
    pictures, first = _draw(runner)
    grid = draw_grid(pictures, work_dir / 'predictions.png')
    print(
        f'\non {len(runner.val_dataloader.dataset)} figures that it never saw, in their true boxes:\n{table(metrics)}'
    )
    print(f'predictions, each to the right of the truth: {grid}\n')
    print(next_commands(CONFIG, work_dir, first))
    return metrics


def table(metrics: dict[str, float]) -> str:
    """Format COCO's average precision and recall of keypoints and the share of correct keypoints, in percent.

    Args:
        metrics: The metrics by the evaluators' names.

    Returns:
        Two lines: names and values, '-' where the data have no persons of that size.
    """
    columns = {
        'AP': 'AP',
        'AP50': 'AP .5',
        'AP75': 'AP .75',
        'medium': 'AP (M)',
        'large': 'AP (L)',
        'AR': 'AR',
        'PCK@0.05': 'PCK',
    }
    values = [100 * metrics[f'coco/{key}'] for key in columns.values()]
    # COCO's metrics are -1 if there are no persons of that size.
    row = ''.join(f'{value:10.1f}' if value >= 0 else f'{"-":>10}' for value in values)
    return ''.join(f'{name:>10}' for name in columns) + '\n' + row


@torch.no_grad()
def _draw(runner: Runner) -> tuple[list, str]:
    """Return pictures of the first validation images, truth and prediction of each, and the path of the first image."""
    runner.model.eval()
    samples: dict[str, list] = {}
    for batch in runner.val_dataloader:
        for sample in runner.model.test_step(batch):
            samples.setdefault(sample.img_path, []).append(sample)
        if len(samples) > NUM_SHOWN:  # then all persons of the images to draw have been predicted
            break
    meta = runner.val_dataloader.dataset.metainfo
    pictures = []
    for path, persons in list(samples.items())[:NUM_SHOWN]:
        image = read_image(path)
        for field in ('gt_instances', 'pred_instances'):
            pictures.append(draw_skeletons(image, InstanceData.cat([sample.get(field) for sample in persons]), meta))
    return pictures, next(iter(samples))
