"""Hooks that the tools add to runs."""

import math
import random
import time
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner


@HOOKS.register_module()
class SeedEachIteration(Hook):
    """Hook that seeds all random generators in each training iteration, so that a resumed run repeats the original.

    A checkpoint holds no random states, and a validation draws random numbers too. The seeds for loading and computing
    an iteration therefore depend on the run's seed, the iteration and the rank alone. Loader workers have random states
    of their own: with workers, a resumed run has the same distribution as the original, not the same digits.
    """

    priority = 'LOWEST'

    def before_train(self, runner: Runner) -> None:
        """Give the loader a generator of its own. It draws a number from it at the start of each epoch."""
        generator = torch.Generator().manual_seed(self._seed(runner))
        runner.train_dataloader.generator = generator

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the loading of the epoch's first iteration."""
        self._reseed(runner, runner.iter, 'load')

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the computation of this iteration."""
        self._reseed(runner, runner.iter, 'compute')

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Seed the loading of the next iteration."""
        self._reseed(runner, runner.iter + 1, 'load')

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Seed the loading of the next iteration again."""
        self._reseed(runner, runner.iter, 'load')

    @staticmethod
    def _seed(runner: Runner) -> int:
        return runner.seed or 0

    def _reseed(self, runner: Runner, iteration: int, phase: str) -> None:
        entropy = (self._seed(runner), iteration, ('load', 'compute').index(phase), get_rank())
        state = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        random.seed(state)
        np.random.seed(state)
        torch.manual_seed(state)


@HOOKS.register_module()
class PlainSchedulers(Hook):
    """Hook that removes functions from the saved states of schedulers, so that a checkpoint holds data alone.

    OneCycle's state holds its annealing function, a method that pulls the whole scheduler into the file. A new
    scheduler has that function anyway.
    """

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Remove the functions in place."""
        schedulers = checkpoint.get('param_schedulers') or []
        groups = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
        for state in (state for group in groups for state in group):
            for key in [key for key, value in state.items() if callable(value)]:
                del state[key]


@HOOKS.register_module()
class StopOnBadLoss(Hook):
    """Hook that stops training at a loss or weight that is NaN or infinite. No checkpoint gets such weights.

    The check of the losses is cheap, as MMEngine fetches each loss from the device in each iteration to log it. The
    weights are checked only before a checkpoint and at the end of an epoch. Several processes stop together: they
    exchange one number per iteration, as a process that stopped alone would leave the others waiting for its gradients.

    Raises:
        FloatingPointError: a loss or weight is not finite. The message names the iteration, the loss or weight, and the
            last checkpoint.
    """

    priority = 'HIGH'  # before hooks that update averaged weights, save or delete

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict | None = None
    ) -> None:
        """Check the losses, and the weights if a checkpoint is due.

        Raises:
            FloatingPointError: a loss or weight is not finite.
        """
        fault = None
        if outputs and not math.isfinite(outputs['loss'].item()):
            values = {key: value.item() for key, value in outputs.items() if 'loss' in key}
            names = [key for key, value in values.items() if not math.isfinite(value)]
            # The first name is the sum of the losses, which is a consequence.
            fault = ', '.join(f'{name} is {values[name]}' for name in names[1:] or names)
        self._stop_together(runner, fault)
        if any(self._saves_now(runner, hook) for hook in runner.hooks if isinstance(hook, CheckpointHook)):
            self._check_weights(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Check the weights.

        Raises:
            FloatingPointError: a weight is not finite.
        """
        self._check_weights(runner, done=runner.iter)

    @staticmethod
    def _saves_now(runner: Runner, hook: CheckpointHook) -> bool:
        if hook.by_epoch:
            return False
        last = hook.save_last and hook.is_last_train_iter(runner)
        return last or hook.every_n_train_iters(runner, hook.interval, hook.save_begin)

    def _check_weights(self, runner: Runner, done: int | None = None) -> None:
        tensors = {key: value for key, value in runner.model.state_dict().items() if value.is_floating_point()}
        sums = torch.stack([value.float().sum() for value in tensors.values()])  # a sum with NaN or Inf is not finite
        names = [name for name, finite in zip(tensors, torch.isfinite(sums).tolist(), strict=True) if not finite]
        fault = f'{len(names)} weights are not finite, the first is {names[0]}' if names else None
        self._stop_together(runner, fault, done)

    def _stop_together(self, runner: Runner, fault: str | None, done: int | None = None) -> None:
        """Raise FloatingPointError in every process if one of them has a fault after ``done`` iterations."""
        flag = torch.tensor(float(fault is not None))
        all_reduce(flag, 'max')
        if not flag:
            return
        problem = next(text for text in all_gather_object(fault) if text is not None)
        iteration = runner.iter + 1 if done is None else done
        checkpoint = runner.message_hub.runtime_info.get('last_ckpt')
        raise FloatingPointError(
            f'iteration {iteration}: {problem}. The run stops here; '
            + (f'the last checkpoint is {checkpoint}' if checkpoint else 'there is no checkpoint yet')
            + '. What may help: a lower rate, gradient clipping, no float16'
        )


@HOOKS.register_module()
class PrintProgress(Hook):
    """Hook that prints a few lines per epoch and one per evaluation, for demos. It replaces the log.

    Args:
        metric: Key of the evaluation metric to print.
        lines_per_epoch: Number of lines between two evaluations.
    """

    def __init__(self, metric: str, lines_per_epoch: int = 4) -> None:
        self.metric = metric
        self.lines_per_epoch = lines_per_epoch

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self._start = time.monotonic()
        self._first = runner.iter

    def after_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: Any = None, outputs: dict[str, Any] | None = None
    ) -> None:
        """Print the iteration, its loss and the time that is left."""
        done, total = runner.iter + 1, runner.max_iters
        every = max(1, total // max(runner.max_epochs, 1) // self.lines_per_epoch)
        if outputs is None or (done % every and done != total) or get_rank():
            return
        left = (time.monotonic() - self._start) / (done - self._first) * (total - done)
        print(
            f'iteration {done:{len(str(total))}d}/{total}  loss {outputs["loss"].item():.3f}  '
            f'left {int(left) // 60}:{int(left) % 60:02d}',
            flush=True,
        )

    def after_val_epoch(self, runner: Runner, metrics: dict | None = None) -> None:
        """Print the metric."""
        if not get_rank():
            print(f'  evaluation: {self.metric} {(metrics or {}).get(self.metric, float("nan")):.2f}', flush=True)
