"""Each task package has the interface of ``moganet.run.tasks``."""

import dataclasses
import inspect

import pytest
from mmengine.config import Config

from helpers.cases import for_each
from moganet.benchmark import training
from moganet.run import evaluate, tasks
from moganet.run.config import load_config
from moganet.run.tasks import PACKAGES, Task, find_task


def arguments(function) -> list[str]:
    return [name for name in inspect.signature(function).parameters if name != 'self']


@for_each(PACKAGES)
def test_every_field_of_a_task_resolves(name):
    task = find_task(name)
    assert isinstance(task, Task)
    assert (task.name, task.package) == (name, PACKAGES[name])
    assert callable(task.find_inputs)
    assert len(task.nouns) == 2
    for part, protocol in (
        (task.complexity, tasks.Counting),
        (task.mini, tasks.MiniData),
        (task.demo, tasks.Demo),
        (task.tta, tasks.Augmentation),
        (task.benchmark, tasks.Benchmark),
    ):
        assert part is None or isinstance(part, protocol)
        for method in () if part is None else (m for m in vars(protocol) if inspect.isfunction(vars(protocol)[m])):
            if not method.startswith('_'):
                assert arguments(getattr(part, method)) == arguments(vars(protocol)[method]), (part, method)
    assert task.complexity.PAPER_COUNTER in task.complexity.COUNTERS
    assert arguments(task.predictor) == ['cfg', 'checkpoint']
    drawn = arguments(task.predictor.draw)
    assert len(drawn) == 2 + task.takes_boxes
    assert drawn[1] == 'path'
    assert ('boxes' in drawn) == task.takes_boxes
    if task.takes_boxes:
        assert task.box_subject(load_config(task.demo.CONFIG)) in ('person', 'hand', 'face')


def test_flags_of_a_task_say_which_modules_it_has():
    root = tasks.Path(tasks.__file__).parents[2]
    for name, package in PACKAGES.items():
        task, folder = find_task(name), root / package.replace('.', '/')
        assert (folder / 'tta.py').is_file() == task.has_tta == (task.tta is not None)
        assert (folder / 'benchmark.py').is_file() == task.has_benchmark == (task.benchmark is not None)


def test_a_task_without_test_time_augmentation_says_so():
    with pytest.raises(ValueError, match=r"--tta: .* task 'pose' has no default: add both to the config"):
        evaluate.prepare(Config(dict(default_scope='mmpose')), tta=True)


def test_a_task_cannot_be_changed():
    with pytest.raises(dataclasses.FrozenInstanceError):
        find_task('pose').takes_boxes = False


def test_the_benchmark_of_training_runs_every_demo():
    demos = [find_task(name).demo for name in PACKAGES]
    paths = [path for _, path in training.RECIPES.values()]
    assert set(paths) == {demo.CONFIG for demo in demos} | {demos[4].FACE_CONFIG}
    assert len(paths) == len(demos) + 1
