"""Training runs end to end: the shares of an iteration that wait for data and that hooks need."""

import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

from mmengine.config import Config
from mmengine.runner import Runner

from ..run import engine
from ..run.config import keep_few, load_config
from ..run.tasks import find_task
from .fresh_process import in_fresh_process
from .interleave import Result

# Title of each section: the task and the config of its demo.
RECIPES = {
    'run, cls': ('cls', 'configs/cls/moganet_xt_mini.py'),
    'run, det': ('det', 'configs/det/mask_rcnn_moganet_xt_mini.py'),
    'run, seg': ('seg', 'configs/seg/fpn_moganet_xt_mini.py'),
    'run, pose': ('pose', 'configs/pose/moganet_xt_mini.py'),
    'run, expose': ('expose', 'configs/expose/hand_moganet_xt_mini.py'),
    'run, video': ('video', 'configs/video/simvp_moganet_mini.py'),
    'run, expose, faces': ('expose', 'configs/expose/face_moganet_xt_mini.py'),
}
# Upper bounds, as shares of an iteration.
WAIT_GOAL, HOOKS_GOAL = 0.05, 0.03
# Iterations that do not count: they start workers and fill the caches of disk and memory.
WARM_UPS = 4
ITERATIONS_PER_ROUND = 2


class IterationTimes(NamedTuple):
    """Seconds of each iteration of a run.

    Attributes:
        config: Path of the recipe.
        waiting: Seconds of waiting for data.
        hooks: Seconds in hooks.
        total: Seconds of the whole iteration.
    """

    config: str
    waiting: list[float]
    hooks: list[float]
    total: list[float]


def config(path: str, iterations: int, work_dir: str) -> Config:
    """Return a recipe that trains for at most ``iterations``, with all its hooks, and neither evaluates nor saves.

    The type of its loop stays: an iteration-based loop calls ``model.train()`` in each iteration, which the logger
    counts as waiting.
    """
    cfg = load_config(path)
    cfg.work_dir = work_dir
    cfg.log_level = 'ERROR'
    if 'max_epochs' in cfg.train_cfg:
        cfg.train_cfg.update(max_epochs=1, val_interval=2)
        keep_few(cfg.train_dataloader.dataset, iterations * cfg.train_dataloader.batch_size)
    else:
        cfg.train_cfg.update(max_iters=iterations, val_interval=iterations + 1)
    cfg.param_scheduler = None
    cfg.default_hooks.checkpoint = None
    for split in ('val', 'test'):
        cfg[f'{split}_cfg'] = cfg[f'{split}_dataloader'] = cfg[f'{split}_evaluator'] = None
    return cfg


class TimedHooks:
    """Replacement of a runner's ``call_hook`` that times the hooks before and after each iteration.

    Attributes:
        seconds: Seconds of these hooks for each iteration so far.
    """

    def __init__(self, runner: Runner) -> None:
        self.call_hook, runner.call_hook = runner.call_hook, self
        self.seconds: list[float] = []

    def __call__(self, name: str, **arguments: object) -> None:
        """Call the hooks of a stage such as 'before_train_iter'."""
        start = time.perf_counter()
        self.call_hook(name, **arguments)
        seconds = time.perf_counter() - start
        if name == 'before_train_iter':
            self.seconds.append(seconds)
        elif name == 'after_train_iter':
            self.seconds[-1] += seconds


def run(task: str, path: str, iterations: int) -> IterationTimes:
    """Train a recipe on the mini data of its task.

    Args:
        task: Name of the task.
        path: The config, which reads the mini data.
        iterations: Number of timed iterations.
    """
    mini = find_task(task).mini
    mini.make(mini.ROOT)
    with tempfile.TemporaryDirectory() as work_dir:
        runner = engine.build_runner(config(path, WARM_UPS + iterations, work_dir), ('train_dataloader',))
        hooks = TimedHooks(runner)
        runner.train()
    logged = (runner.message_hub.get_scalar(f'train/{key}').data[0] for key in ('data_time', 'time'))
    waiting, total = ([float(seconds) for seconds in times[WARM_UPS:]] for times in logged)
    return IterationTimes(path, waiting, hooks.seconds[WARM_UPS:], total)


def shares(times: IterationTimes) -> list[Result]:
    """Compute the shares of waiting and of hooks in an iteration.

    Means count, not medians: an event that is rare but long makes the run longer too.
    """
    waiting, hooks, total = (1e3 * statistics.fmean(seconds) for seconds in times[1:])
    return [
        Result(f'waiting for data, {times.config}', 'iteration', waiting, total, waiting / total, WAIT_GOAL),
        Result(f'hooks, {times.config}', 'iteration', hooks, total, hooks / total, HOOKS_GOAL),
    ]


def sections(rounds: int) -> dict[str, Callable[[], list[Result]]]:
    """Return title and measuring call of each mini recipe.

    Each runs in a process of its own, since the registries of a task are global.
    """
    iterations = ITERATIONS_PER_ROUND * rounds
    return {title: functools.partial(_measure, *recipe, iterations) for title, recipe in RECIPES.items()}


def _measure(task: str, path: str, iterations: int) -> list[Result]:
    return shares(IterationTimes(*in_fresh_process(run, task=task, path=path, iterations=iterations)))
