"""The demo of 2D pose: train on photographs with articulated figures, then show what was learnt."""

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
    """Write the mini data, train ``cfg`` on them, draw, and print what there is to see. Returns the metrics."""
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
    """COCO's average precision and recall of keypoints, and the share of correct ones, in percent."""
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
    # COCO's -1 says that there was nothing of that size.
    row = ''.join(f'{value:10.1f}' if value >= 0 else f'{"-":>10}' for value in values)
    return ''.join(f'{name:>10}' for name in columns) + '\n' + row


@torch.no_grad()
def _draw(runner: Runner) -> tuple[list, str]:
    """Pictures of the first validation images, each with the truth and then the prediction; the path of the first."""
    runner.model.eval()
    samples: dict[str, list] = {}
    for batch in runner.val_dataloader:
        for sample in runner.model.test_step(batch):
            samples.setdefault(sample.img_path, []).append(sample)
        if len(samples) > NUM_SHOWN:  # then the last of those shown is whole
            break
    meta = runner.val_dataloader.dataset.metainfo
    pictures = []
    for path, found in list(samples.items())[:NUM_SHOWN]:
        image = read_image(path)
        for kind in ('gt_instances', 'pred_instances'):
            pictures.append(draw_skeletons(image, InstanceData.cat([sample.get(kind) for sample in found]), meta))
    return pictures, next(iter(samples))
