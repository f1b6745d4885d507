"""Overhead of training through the tools over a bare PyTorch loop, on the same model and data in memory."""

import copy
import tempfile
import time

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from mmpretrain.registry import DATASETS
from mmpretrain.structures import DataSample
from torch.nn import functional as F

from moganet.benchmark import Result, compare_times
from moganet.run import engine
from moganet.run.config import load_config

CONFIG = 'configs/cls/moganet_xt_mini.py'
SIDE, BATCH = 64, 64


@DATASETS.register_module(force=True)
class ImagesInMemory(BaseDataset):
    """Random images (3, SIDE, SIDE) uint8 with labels, in the form of a pipeline's output.

    Args:
        length: Number of images.
    """

    def __init__(self, length: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(256, (length, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
        self.labels = torch.randint(10, (length,), generator=generator)
        super().__init__(metainfo=dict(classes=tuple('0123456789')), serialize_data=False)

    def load_data_list(self) -> list[dict]:
        """Return an empty dict per image."""
        return [dict() for _ in self.labels]

    def prepare_data(self, idx: int) -> dict:
        """Return image ``idx`` with its label."""
        sample = DataSample(metainfo=dict(num_classes=10)).set_gt_label(int(self.labels[idx]))
        return dict(inputs=self.images[idx], data_samples=sample)


@HOOKS.register_module(force=True)
class InterleavedBareLoop(Hook):
    """Times each epoch of the Runner and, after it, an epoch of a bare loop on a copy of the model."""

    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Copy the model for the bare loop."""
        self.model = copy.deepcopy(runner.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, weight_decay=0.03)
        self.runner_times: list[float] = []  # seconds per epoch
        self.bare_times: list[float] = []

    def before_train_epoch(self, runner: Runner) -> None:
        """Start the clock of the Runner's epoch."""
        self.start = time.perf_counter()

    def after_train_epoch(self, runner: Runner) -> None:
        """Stop the clock and time an epoch of the bare loop."""
        self.runner_times.append(time.perf_counter() - self.start)
        data = runner.train_dataloader.dataset
        self.bare_times.append(self._bare_epoch(data.images, data.labels))

    def _bare_epoch(self, images: torch.Tensor, labels: torch.Tensor) -> float:
        """Train on all images and return the seconds."""
        start = time.perf_counter()
        preprocessor = self.model.data_preprocessor
        for x, y in zip(images.split(BATCH), labels.split(BATCH), strict=True):
            x = (x.float() - preprocessor.mean) / preprocessor.std
            logits = self.model.head.fc(self.model.backbone(x)[-1].mean((2, 3)))
            loss = F.cross_entropy(logits, y, label_smoothing=0.1)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        return time.perf_counter() - start


def config(iterations: int, epochs: int, work_dir: str) -> Config:
    """Return the mini recipe on images in memory, with the hooks of every run and no evaluation.

    Args:
        iterations: Iterations of an epoch.
        epochs: Number of epochs.
        work_dir: Folder of the run.
    """
    cfg = load_config(CONFIG)
    cfg.work_dir = work_dir
    cfg.log_level = 'WARNING'
    cfg.train_dataloader.dataset = dict(type='ImagesInMemory', length=iterations * BATCH)
    cfg.train_dataloader.batch_size = BATCH
    cfg.train_cfg.max_epochs = epochs
    cfg.param_scheduler[0].total_steps = epochs
    cfg.default_hooks.checkpoint = None
    cfg.val_cfg = cfg.val_dataloader = cfg.val_evaluator = None
    cfg.test_cfg = cfg.test_dataloader = cfg.test_evaluator = None
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='InterleavedBareLoop')]
    return cfg


def training_overhead(iterations: int = 4, epochs: int = 8, goal: float = 1.10) -> Result:
    """Measure the time per iteration of tools/train.py over the bare loop's: XT, 64x64, batch 64.

    Args:
        iterations: Iterations of an epoch.
        epochs: Number of epochs; the first one warms up and does not count.
        goal: Ratio that the result should not exceed.
    """
    with tempfile.TemporaryDirectory() as work_dir:
        runner = engine.build_runner(config(iterations, epochs, work_dir), ('train_dataloader',))
        runner.train()
    hook = next(hook for hook in runner.hooks if isinstance(hook, InterleavedBareLoop))
    ours, bare = ([1e3 * t / iterations for t in times[1:]] for times in (hook.runner_times, hook.bare_times))
    name = f'an iteration of tools/train.py, xtiny {SIDE}x{SIDE} batch {BATCH}'
    return compare_times(name, ours, 'bare PyTorch loop', bare, goal)


def measure(rounds: int) -> list[Result]:
    """Measure the overhead of training through the tools."""
    return [training_overhead(epochs=max(2, rounds // 2))]
