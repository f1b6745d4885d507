"""Training end to end: how long a run waits for its data, and what its hooks take."""

import functools
import statistics
import tempfile
import time
from collections.abc import Callable

from mmengine.config import Config
from mmengine.runner import Runner

from ..run import engine
from ..run.config import keep_few, load_config
from ..run.tasks import PACKAGES, task_module
from .interleave import Result
from .memory import in_fresh_process

# Shares of an iteration.
WAIT_GOAL, HOOKS_GOAL = 0.05, 0.03
# Iterations that are not counted: they start workers, and fill the caches of disk and memory.
WARM_UPS = 4
ITERATIONS_PER_ROUND = 2


def config(path: str, iterations: int, work_dir: str) -> Config:
    """A recipe that trains for at most so many iterations, with all its hooks, and neither evaluates nor saves.

    Its loop stays: one by iterations sets the whole model to training in each, which counts as waiting.
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
    """In the place of a runner's ``call_hook``: the seconds that the hooks around each iteration take."""

    def __init__(self, runner: Runner):
        self.call_hook, runner.call_hook = runner.call_hook, self
        self.seconds: list[float] = []

    def __call__(self, name: str, **arguments: object) -> None:
        start = time.perf_counter()
        self.call_hook(name, **arguments)
        seconds = time.perf_counter() - start
        if name == 'before_train_iter':
            self.seconds.append(seconds)
        elif name == 'after_train_iter':
            self.seconds[-1] += seconds


def run(task: str, recipe: str, iterations: int) -> tuple[str, list[float], list[float], list[float]]:
    """Train a recipe of a task's demo: its path, and per iteration the seconds of waiting, of hooks, and of all."""
    mini = task_module(task, 'mini')
    mini.make(mini.ROOT)
    path = getattr(task_module(task, 'demo'), recipe)
    with tempfile.TemporaryDirectory() as work_dir:
        runner = engine.build_runner(config(path, WARM_UPS + iterations, work_dir), ('train_dataloader',))
        hooks = TimedHooks(runner)
        runner.train()
    logged = (runner.message_hub.get_scalar(f'train/{key}').data[0] for key in ('data_time', 'time'))
    waited, whole = ([float(seconds) for seconds in times[WARM_UPS:]] for times in logged)
    return path, waited, hooks.seconds[WARM_UPS:], whole


def shares(path: str, waited: list[float], hooks: list[float], whole: list[float]) -> list[Result]:
    """Of the seconds of each iteration. Means, not medians: what comes now and then makes a run longer, too."""
    waited, hooks, whole = (1e3 * statistics.fmean(seconds) for seconds in (waited, hooks, whole))
    return [
        Result(f'waiting for data, {path}', 'iteration', waited, whole, waited / whole, WAIT_GOAL),
        Result(f'hooks, {path}', 'iteration', hooks, whole, hooks / whole, HOOKS_GOAL),
    ]


def parts(rounds: int) -> dict[str, Callable[[], list[Result]]]:
    """Title and what measures it: each mini recipe, in a process of its own, as a task's registries are global."""
    recipes = {f'run, {task}': (task, 'CONFIG') for task in PACKAGES}
    recipes['run, expose, faces'] = 'expose', 'FACE_CONFIG'
    iterations = ITERATIONS_PER_ROUND * rounds
    return {title: functools.partial(_measure, *recipe, iterations) for title, recipe in recipes.items()}


def _measure(task: str, recipe: str, iterations: int) -> list[Result]:
    return shares(*in_fresh_process('runs:run', task=task, recipe=recipe, iterations=iterations))
