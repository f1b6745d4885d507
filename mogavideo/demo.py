"""Demo of video prediction: train on moving scans of digits, then show a prediction."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from moganet.mini.demo import next_commands, train

from . import mini
from .draw import draw_animation, draw_strip

CONFIG = 'configs/video/simvp_moganet_mini.py'


def run(cfg: Config) -> dict[str, float]:
    """Write the mini data, train ``cfg`` on them, draw a prediction, print metrics and files, return the metrics."""
    print(mini.make(cfg.train_dataloader.dataset.data_root), flush=True)
    runner, metrics = train(cfg, 'video/mse', lines_per_epoch=2)
    work_dir = Path(cfg.work_dir)
    clip = _first_clip(runner)
    frames = clip['inputs'], clip['prediction'], clip['target']
    strip = draw_strip(*frames, work_dir / 'prediction.png')
    animation = draw_animation(*frames, work_dir / 'prediction.gif')
    example = work_dir / 'clip.npy'
    np.save(example, np.round(255 * np.concatenate([clip['inputs'], clip['target']])).astype(np.uint8))
    print(f'\non {len(runner.val_dataloader.dataset)} clips of digits that it never saw:\n{table(metrics)}')
    print(f'prediction: {animation} (animated), {strip}\n')
    print(next_commands(CONFIG, work_dir, example))
    return metrics


def table(metrics: dict[str, float]) -> str:
    """Return the metrics as text, the MSE beside the MSE of repeating the last input frame."""
    mse, copied = metrics['video/mse'], metrics['video/mse_copy_last']
    return (
        f'MSE {mse:.1f}; the last frame repeated has {copied:.1f}, {copied / mse:.1f} times as much\n'
        f'MAE {metrics["video/mae"]:.1f}, SSIM {metrics["video/ssim"]:.4f}, PSNR {metrics["video/psnr"]:.2f} dB'
    )


@torch.no_grad()
def _first_clip(runner: Runner) -> dict[str, np.ndarray]:
    """Return inputs, prediction and target of the first validation clip, each (T, C, H, W)."""
    runner.model.eval()
    sample = runner.model.test_step(next(iter(runner.val_dataloader)))[0]
    return {name: value.float().cpu().numpy() for name, value in sample.items()}
