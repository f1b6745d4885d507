"""Demo of classification: train on real scans of digits, then show predictions and the confusion matrix."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner
from mmpretrain.evaluation import ConfusionMatrix

from moganet.mini.demo import next_commands, train

from . import mini
from .draw import draw_confusion, draw_grid

CONFIG = 'configs/cls/moganet_xt_mini.py'
NUM_SHOWN = 32
OWN_DATA = (
    '  python tools/train.py configs/cls/moganet_t_own_data.py --cfg-options data_root=DIR model.head.num_classes=N'
)


def run(cfg: Config) -> float:
    """Write the mini data, train ``cfg`` on them, draw predictions, print the results, return top-1 in percent."""
    print(mini.make(cfg.train_dataloader.dataset.data_root), flush=True)
    runner, _ = train(cfg, 'accuracy/top1', lines_per_epoch=4)

    work_dir = Path(cfg.work_dir)
    classes = runner.val_dataloader.dataset.CLASSES
    images, truth, scores = _predict(runner)
    predicted = scores.argmax(1)
    accuracy = 100 * float(np.mean(predicted == truth))
    matrix = ConfusionMatrix.calculate(predicted, truth, num_classes=len(classes)).numpy()
    confusion = draw_confusion(matrix, classes, work_dir / 'confusion_matrix.png')
    certainty = scores.max(1)
    shown = np.lexsort((certainty, predicted == truth))[:NUM_SHOWN]  # errors first, then the least certain
    grid = draw_grid(
        [images[i] for i in shown],
        predicted[shown],
        truth[shown],
        certainty[shown],
        classes,
        work_dir / 'predictions.png',
    )
    print(f'\ntop-1 on {len(images)} scans that it never saw: {accuracy:.1f} %')
    print(f'confusion matrix: {confusion}\npredictions, errors first: {grid}\n')
    print(next_commands(CONFIG, work_dir, images[0]))
    print(OWN_DATA)
    return accuracy


@torch.no_grad()
def _predict(runner: Runner) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return paths, true labels (N,) and scores (N, classes) of the validation images."""
    runner.model.eval()
    samples = [sample for batch in runner.val_dataloader for sample in runner.model.test_step(batch)]
    truth = np.array([sample.gt_label.item() for sample in samples])
    return [sample.img_path for sample in samples], truth, torch.stack([s.pred_score for s in samples]).cpu().numpy()
