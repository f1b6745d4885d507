"""Helpers of tests that compare runs: detection without random numbers, and the losses of each process in files."""

import json
import os
from pathlib import Path

import torch
from mmdet.models.task_modules.samplers import RandomSampler
from mmdet.registry import TASK_UTILS
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmengine.registry import HOOKS


@TASK_UTILS.register_module()
class FirstSampler(RandomSampler):
    """Return the first candidates instead of random ones."""

    def random_choice(self, gallery: torch.Tensor, num: int) -> torch.Tensor:
        return gallery[:num]


@HOOKS.register_module()
class RecordLosses(Hook):
    """Writes a line {"iter", "pid", losses} per training iteration to <work_dir>/losses_<rank>.jsonl."""

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        losses = {name: float(value.detach()) for name, value in outputs.items()}
        with Path(runner.work_dir, f'losses_{get_rank()}.jsonl').open('a') as file:
            file.write(json.dumps(dict(losses, iter=runner.iter, pid=os.getpid())) + '\n')
