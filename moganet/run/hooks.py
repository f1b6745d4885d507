"""Hooks that the tools add to every run."""

import math
import random
import time

import numpy as np
import torch
from mmengine.dist import all_gather_object, all_reduce, get_rank
from mmengine.hooks import CheckpointHook, Hook
from mmengine.registry import HOOKS


@HOOKS.register_module()
class SeedEachIteration(Hook):
    """Draws the random numbers of each training iteration from the run's seed, the iteration and the rank.

    A checkpoint holds no random states, and validation draws random numbers of its own. So that a resumed run goes on
    as if it had not stopped, loading and computing of iteration i start from states that depend on i alone.
    Loader workers have their own states: with them, a resumed run repeats in law, not in every digit.
    """

    priority = 'LOWEST'

    def before_train(self, runner) -> None:
        # A loader draws a number whenever it starts over. From a generator of its own, this leaves ours alone.
        generator = torch.Generator().manual_seed(self._seed(runner))
        runner.train_dataloader.generator = generator

    def before_train_epoch(self, runner) -> None:
        self._reseed(runner, runner.iter, 'load')

    def before_train_iter(self, runner, batch_idx: int, data_batch=None) -> None:
        self._reseed(runner, runner.iter, 'compute')

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        self._reseed(runner, runner.iter + 1, 'load')

    def after_val_epoch(self, runner, metrics=None) -> None:
        self._reseed(runner, runner.iter, 'load')

    @staticmethod
    def _seed(runner) -> int:
        return runner.seed or 0

    def _reseed(self, runner, iteration: int, phase: str) -> None:
        entropy = (self._seed(runner), iteration, ('load', 'compute').index(phase), get_rank())
        state = int(np.random.SeedSequence(entropy).generate_state(1)[0])
        random.seed(state)
        np.random.seed(state)
        torch.manual_seed(state)


@HOOKS.register_module()
class PlainSchedulers(Hook):
    """Keeps methods out of what schedulers save, so that checkpoints hold nothing but data and load safely.

    OneCycle's state has its annealing function, which drags the whole scheduler into the file; a new one has it anyway.
    """

    def before_save_checkpoint(self, runner, checkpoint: dict) -> None:
        schedulers = checkpoint.get('param_schedulers') or []
        groups = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
        for state in (state for group in groups for state in group):
            for key in [key for key, value in state.items() if callable(value)]:
                del state[key]


@HOOKS.register_module()
class StopOnBadLoss(Hook):
    """Stops training when a loss is NaN or infinite, and before weights that are reach a checkpoint.

    MMEngine fetches each loss from the device at each iteration to log it, so to look at the sum of them adds nothing.
    The weights are looked at before a checkpoint or an evaluation only. Several processes stop together: they exchange
    one number per iteration, since one that stopped by itself would leave the others waiting for its gradients.

    Raises:
        FloatingPointError: names the iteration, the loss or the weight, and the last checkpoint.
    """

    priority = 'HIGH'  # before the average of weights is updated and before anything is saved or deleted

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        bad = None
        if outputs and not math.isfinite(outputs['loss'].item()):
            values = {key: value.item() for key, value in outputs.items() if 'loss' in key}
            names = [key for key, value in values.items() if not math.isfinite(value)]
            # The sum comes first among them, and is not what went wrong.
            bad = ', '.join(f'{name} is {values[name]}' for name in names[1:] or names)
        self._stop_together(runner, bad)
        if any(self._saves_now(runner, hook) for hook in runner.hooks if isinstance(hook, CheckpointHook)):
            self._check_weights(runner)

    def after_train_epoch(self, runner) -> None:
        self._check_weights(runner, done=runner.iter)

    @staticmethod
    def _saves_now(runner, hook: CheckpointHook) -> bool:
        if hook.by_epoch:
            return False
        last = hook.save_last and hook.is_last_train_iter(runner)
        return last or hook.every_n_train_iters(runner, hook.interval, hook.save_begin)

    def _check_weights(self, runner, done: int | None = None) -> None:
        tensors = {key: value for key, value in runner.model.state_dict().items() if value.is_floating_point()}
        sums = torch.stack([value.float().sum() for value in tensors.values()])  # NaN and Inf survive a sum
        names = [name for name, good in zip(tensors, torch.isfinite(sums).tolist(), strict=True) if not good]
        bad = f'{len(names)} weights are not finite, the first is {names[0]}' if names else None
        self._stop_together(runner, bad, done)

    def _stop_together(self, runner, bad: str | None, done: int | None = None) -> None:
        """Raise in every process if ``bad`` says anything in one of them."""
        flag = torch.tensor(float(bad is not None))
        all_reduce(flag, 'max')
        if not flag:
            return
        problem = next(text for text in all_gather_object(bad) if text is not None)
        iteration = runner.iter + 1 if done is None else done
        checkpoint = runner.message_hub.runtime_info.get('last_ckpt')
        raise FloatingPointError(
            f'iteration {iteration}: {problem}. The run stops here; '
            + (f'the last checkpoint is {checkpoint}' if checkpoint else 'there is no checkpoint yet')
            + '. What may help: a lower rate, gradient clipping, no float16'
        )


@HOOKS.register_module()
class PrintProgress(Hook):
    """A line per few iterations and per evaluation, in place of the whole log: for runs that somebody watches.

    Args:
        metric: Key of the evaluation's metrics that is shown.
        lines_per_epoch: Lines between two evaluations.
    """

    def __init__(self, metric: str, lines_per_epoch: int = 4):
        self.metric = metric
        self.lines_per_epoch = lines_per_epoch

    def before_train(self, runner) -> None:
        self._start = time.monotonic()
        self._first = runner.iter

    def after_train_iter(self, runner, batch_idx: int, data_batch=None, outputs=None) -> None:
        done, total = runner.iter + 1, runner.max_iters
        every = max(1, total // max(runner.max_epochs, 1) // self.lines_per_epoch)
        if (done % every and done != total) or get_rank():
            return
        left = (time.monotonic() - self._start) / (done - self._first) * (total - done)
        print(
            f'iteration {done:{len(str(total))}d}/{total}  loss {outputs["loss"].item():.3f}  '
            f'left {int(left) // 60}:{int(left) % 60:02d}',
            flush=True,
        )

    def after_val_epoch(self, runner, metrics=None) -> None:
        if not get_rank():
            print(f'  evaluation: {self.metric} {(metrics or {}).get(self.metric, float("nan")):.2f}', flush=True)
