"""Counts of parameters and multiply-adds, each done once per session.

Three groups of tests count the same configs: complexity tests, READMEs and ``tools/paper_tables.py``. The processes of
pytest-xdist share the counts through files of the session's temporary folder, so that a later session counts anew.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock
from mmengine.config import Config

from moganet.paper.complexity import Complexity
from moganet.run import tasks


def shared_folder(tmp_path_factory) -> Path:
    """The folder that all processes of this session, and no other session, see."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if 'PYTEST_XDIST_WORKER' in os.environ else own


def cached(task: str, folder: Path) -> Callable[..., Complexity]:
    """Return the ``count`` of a task that counts each model, shape and counter once.

    The key is the whole resolved model, so that any change of a config counts anew.
    """
    complexity = tasks.find_task(task).complexity
    count = complexity.count

    def counted(cfg: Config, shape: tuple[int, int] | None = None, counter: str | None = None) -> Complexity:
        counter = counter or complexity.PAPER_COUNTER
        key = repr((task, cfg.model, tuple(shape or complexity.default_shape(cfg)), counter))
        path = folder / f'count_{hashlib.sha256(key.encode()).hexdigest()}.json'
        with FileLock(f'{path}.lock'):
            if not path.exists():
                path.write_text(json.dumps(dataclasses.asdict(count(cfg, shape, counter))))
            found = json.loads(path.read_text())
        return Complexity(**{**found, 'shape': tuple(found['shape'])})

    return counted
