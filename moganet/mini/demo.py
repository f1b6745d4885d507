"""What the demos of all tasks share: train quietly on mini data, then say what to try next."""

import contextlib
import io
from pathlib import Path

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from ..run import engine


class Quiet(Hook):
    """Swallows the pages that pycocotools and its like print while they read and evaluate."""

    priority = 'HIGH'  # before PrintProgress, which has something to say after an evaluation

    def __init__(self):
        self._silence = contextlib.ExitStack()

    def start(self) -> None:
        self._silence.enter_context(contextlib.redirect_stdout(io.StringIO()))

    def stop(self) -> None:
        self._silence.close()

    def before_train(self, runner) -> None:
        self.stop()

    def before_val_epoch(self, runner) -> None:
        self.start()

    def after_val_epoch(self, runner, metrics=None) -> None:
        self.stop()


def train(cfg: Config, metric: str, lines_per_epoch: int = 1) -> tuple[Runner, dict[str, float]]:
    """Train ``cfg``, printing one short line now and then; return the runner and the last validation metrics.

    Args:
        cfg: Changed in place: no log but ``PrintProgress``'s.
        metric: Which validation metric the lines show, as the evaluator names it.
        lines_per_epoch: How often an epoch is heard of.
    """
    cfg.log_level = 'ERROR'  # PrintProgress says what is worth saying
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
    """The commands to go on with: a picture of a prediction, and the metrics of the checkpoint once more."""
    checkpoint = Path(work_dir, Path(Path(work_dir, 'last_checkpoint').read_text()).name)
    return f'Next:\n  python tools/infer.py {config} {checkpoint} {image}\n  python tools/test.py {config} {checkpoint}'
