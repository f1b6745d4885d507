"""What training through the tools costs beside a bare PyTorch loop on the same model and data in memory."""

import copy
import tempfile
import time

import torch
from mmengine.config import Config
from mmengine.dataset import BaseDataset
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
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
    """Random uint8 images of ``SIDE`` pixels with labels, as a pipeline would hand them over."""

    def __init__(self, length: int) -> None:
        generator = torch.Generator().manual_seed(0)
        self.images = torch.randint(256, (length, 3, SIDE, SIDE), dtype=torch.uint8, generator=generator)
        self.labels = torch.randint(10, (length,), generator=generator)
        super().__init__(metainfo=dict(classes=tuple('0123456789')), serialize_data=False)

    def load_data_list(self) -> list[dict]:
        return [dict() for _ in self.labels]

    def prepare_data(self, idx: int) -> dict:
        sample = DataSample(metainfo=dict(num_classes=10)).set_gt_label(int(self.labels[idx]))
        return dict(inputs=self.images[idx], data_samples=sample)


@HOOKS.register_module(force=True)
class BareLoopByTurns(Hook):
    """After each epoch of the Runner, as many iterations of a bare loop on a copy of its model, both timed."""

    priority = 'LOWEST'

    def before_train(self, runner) -> None:
        self.model = copy.deepcopy(runner.model)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=1e-3, weight_decay=0.03)
        self.runner_times, self.bare_times = [], []

    def before_train_epoch(self, runner) -> None:
        self.start = time.perf_counter()

    def after_train_epoch(self, runner) -> None:
        self.runner_times.append(time.perf_counter() - self.start)
        data = runner.train_dataloader.dataset
        self.bare_times.append(self._bare_epoch(data.images, data.labels))

    def _bare_epoch(self, images: torch.Tensor, labels: torch.Tensor) -> float:
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
    """The mini recipe on images in memory, with the hooks that every run has and no evaluation."""
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
    cfg.custom_hooks = [*cfg.custom_hooks, dict(type='BareLoopByTurns')]
    return cfg


def training_overhead(iterations: int = 4, epochs: int = 8, goal: float = 1.10) -> Result:
    """Time per iteration of tools/train.py over the bare loop's: XT, 64x64, batch 64. The first epoch warms up."""
    with tempfile.TemporaryDirectory() as work_dir:
        runner = engine.build_runner(config(iterations, epochs, work_dir), ('train_dataloader',))
        runner.train()
    hook = next(hook for hook in runner.hooks if isinstance(hook, BareLoopByTurns))
    ours, bare = ([1e3 * t / iterations for t in times[1:]] for times in (hook.runner_times, hook.bare_times))
    name = f'an iteration of tools/train.py, xtiny {SIDE}x{SIDE} batch {BATCH}'
    return compare_times(name, ours, 'bare PyTorch loop', bare, goal)


def measure(rounds: int) -> list[Result]:
    """What concerns classification: the overhead of training through the tools."""
    return [training_overhead(epochs=max(2, rounds // 2))]
