"""Demo of detection: train on photographs with scanned digits, then show detections."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.runner import Runner

from moganet.io.images import draw_grid, read_image
from moganet.mini.demo import next_commands, train

from . import mini
from .draw import draw_instances

CONFIG = 'configs/det/mask_rcnn_moganet_xt_mini.py'
NUM_SHOWN = 12


def run(cfg: Config) -> dict[str, float]:
    """Write the mini data, train ``cfg`` on them, draw detections, print the results, return COCO's metrics."""
    print(mini.make(cfg.train_dataloader.dataset.data_root), flush=True)
    runner, metrics = train(cfg, 'coco/bbox_mAP_50', lines_per_epoch=2)
    work_dir = Path(cfg.work_dir)
    pictures, first = _draw(runner)
    grid = draw_grid(pictures, work_dir / 'predictions.png')
    print(f'\non {len(runner.val_dataloader.dataset)} images with digits that it never saw:\n{table(metrics)}')
    print(f'predictions: {grid}\n')
    print(next_commands(CONFIG, work_dir, first))
    return metrics


def table(metrics: dict[str, float]) -> str:
    """Return COCO's average precisions in percent as text: a row for boxes and a row for masks."""
    columns = dict(AP='mAP', AP50='mAP_50', AP75='mAP_75', small='mAP_s', medium='mAP_m', large='mAP_l')
    lines = [' ' * 6 + ''.join(f'{name:>8}' for name in columns)]
    for title, metric in (('boxes', 'bbox'), ('masks', 'segm')):
        values = [100 * metrics[f'coco/{metric}_{key}'] for key in columns.values()]
        # COCO reports -1 if there are no objects of that size.
        lines.append(f'{title:6}' + ''.join(f'{value:8.1f}' if value >= 0 else f'{"-":>8}' for value in values))
    return '\n'.join(lines)


@torch.no_grad()
def _draw(runner: Runner) -> tuple[list, str]:
    """Return the first validation images with their detections drawn, and the path of the first image."""
    runner.model.eval()
    classes = runner.val_dataloader.dataset.metainfo['classes']
    pictures, paths = [], []
    for batch in runner.val_dataloader:
        for sample in runner.model.test_step(batch):
            pictures.append(draw_instances(read_image(sample.img_path), sample.pred_instances, classes))
            paths.append(sample.img_path)
        if len(paths) >= NUM_SHOWN:
            break
    return pictures[:NUM_SHOWN], paths[0]
