"""Shared part of the demos: train on mini data with a few lines of output, then print the next commands."""

import contextlib
import io
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..run import engine


class Quiet(Hook):
    """Discards the pages that pycocotools and similar libraries print while they read and evaluate."""

    priority = 'HIGH'  # before PrintProgress, which prints a line after an evaluation

    def __init__(self) -> None:
        self._silence = contextlib.ExitStack()

    def start(self) -> None:
        """Discard standard output from now on."""
        self._silence.enter_context(contextlib.redirect_stdout(io.StringIO()))

    def stop(self) -> None:
        """Restore standard output."""
        self._silence.close()

    def before_train(self, runner: Runner) -> None:
        """Restore standard output after the data sets have been read."""
        self.stop()

    def before_val_epoch(self, runner: Runner) -> None:
        """Discard the evaluator's output."""
        self.start()

    def after_val_epoch(self, runner: Runner, metrics: dict[str, Any] | None = None) -> None:
        """Restore standard output."""
        self.stop()


def train(cfg: Config, metric: str, lines_per_epoch: int = 1) -> tuple[Runner, dict[str, float]]:
    """Train a config, printing a few short lines per epoch.

    Args:
        cfg: The config. It is changed in place so that ``PrintProgress`` replaces the log.
        metric: Name of the validation metric in the lines, as the evaluator spells it.
        lines_per_epoch: Number of lines per epoch.

    Returns:
        The runner, and the metrics of the last validation.
    """
    cfg.log_level = 'ERROR'  # PrintProgress prints the progress
    progress = dict(type='PrintProgress', metric=metric, lines_per_epoch=lines_per_epoch)
    cfg.custom_hooks = [*cfg.get('custom_hooks', []), progress]
    runner = engine.build_runner(cfg, ('train_dataloader', 'val_dataloader'))
    quiet = Quiet()
    runner.register_hook(quiet, priority=quiet.priority)
    quiet.start()
    try:
        runner.train()
    finally:
        quiet.stop()
    scalars = runner.message_hub.log_scalars.items()
    metrics = {name.removeprefix('val/'): values.current() for name, values in scalars if name.startswith('val/')}
    return runner, metrics


def next_commands(config: str, work_dir: str | Path, image: str | Path) -> str:
    """Return the commands to try next: they draw a prediction and evaluate the checkpoint."""
    checkpoint = Path(work_dir, Path(Path(work_dir, 'last_checkpoint').read_text()).name)
    return f'Next:\n  python tools/infer.py {config} {checkpoint} {image}\n  python tools/test.py {config} {checkpoint}'
