"""Set-up of every test: one thread, restored random states, skips without the hardware or files that a test needs."""

import functools
import gc
import logging
import os
import random

import numpy as np
import pytest
import torch
from mmengine.config import utils as config_utils
from mmengine.logging import MMLogger
from mmengine.registry import DefaultScope
from mmengine.visualization import Visualizer
from yapf.yapflib import yapf_api

from helpers import counting, tool_runs
from moganet.ops import dispatch
from moganet.run import tasks

torch.set_num_threads(1)
# For each `_base_` of an MM package, MMEngine reads all of its metafiles: five sixths of the time a config takes.
config_utils.load = functools.cache(config_utils.load)
# MMEngine lays a config's text out for every log and checkpoint: half of a training of seconds.
yapf_api.FormatCode = lambda text, **_: (text, False)


@pytest.fixture(autouse=True)
def restored_random_states():
    """Start each test from seed 0, and restore the random states after it."""
    states = random.getstate(), np.random.get_state(), torch.get_rng_state()
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    yield
    random.setstate(states[0])
    np.random.set_state(states[1])
    torch.set_rng_state(states[2])


@pytest.fixture(autouse=True)
def restored_instances():
    """Restore scopes and visualizers, which MMEngine keeps for a whole process."""
    kept = {kind: kind._instance_dict.copy() for kind in (DefaultScope, Visualizer)}
    yield
    for kind, instances in kept.items():
        kind._instance_dict.clear()
        kind._instance_dict.update(instances)


def pytest_collection_finish():
    """Spare later garbage collections, of which MMEngine's data sets ask for one each, everything imported so far."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item):
    if item.get_closest_marker('gpu') and not torch.cuda.is_available():
        pytest.skip('needs a CUDA device')
    if item.get_closest_marker('weights') and 'MOGANET_WEIGHTS' not in os.environ:
        pytest.skip('needs published weights: set MOGANET_WEIGHTS to the folder that holds them')


@pytest.fixture(scope='session')
def count_once(tmp_path_factory):
    """Return the ``count`` of a task, with a memory that the processes of this session share."""
    return functools.cache(functools.partial(counting.cached, folder=counting.shared_folder(tmp_path_factory)))


@pytest.fixture(scope='module')
def tables_count_once(count_once):
    """Tables that the tests of a module make use ``count_once``."""
    with pytest.MonkeyPatch.context() as patch:
        for task in tasks.PACKAGES:
            patch.setattr(tasks.find_task(task).complexity, 'count', count_once(task))
        yield


@pytest.fixture(scope='session')
def mini_cls(tmp_path_factory):
    """Folder with the mini data of classification."""
    from mogacls import mini

    root = tmp_path_factory.mktemp('data') / 'cls'
    mini.make(root)
    return root


@pytest.fixture
def tiny_config(tmp_path, mini_cls):
    """Return a function that writes the config; its arguments are lines that override it, as a child's do."""
    return functools.partial(tool_runs.write_tiny_config, tmp_path, mini_cls)


@pytest.fixture(scope='session')
def tiny_runs(tmp_path_factory, mini_cls):
    """Return a function that trains the config, overridden by lines, once: its path and the run's folder.

    Tests read the folder only.
    """

    @functools.cache
    def train(*lines):
        folder = tmp_path_factory.mktemp('tiny_run')
        config = tool_runs.write_tiny_config(folder, mini_cls, *lines)
        tool_runs.call('train', config, '--work-dir', folder / 'run')
        return config, folder / 'run'

    return train


@pytest.fixture
def weights(tmp_path, monkeypatch):
    """A folder for MOGANET_WEIGHTS."""
    folder = tmp_path / 'weights'
    folder.mkdir()
    monkeypatch.setenv('MOGANET_WEIGHTS', str(folder))
    return folder


@pytest.fixture
def told(monkeypatch):
    """Messages to a run's log about the backend, as in a process that has logged none yet."""
    monkeypatch.setattr(dispatch, '_announced', False)
    logger = MMLogger.get_instance('told', logger_name='told')
    records = []
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger.addHandler(handler)
    monkeypatch.setattr(MMLogger, 'get_current_instance', lambda: logger)
    yield records
    logger.removeHandler(handler)
