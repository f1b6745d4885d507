"""The tasks, and the interface of a task's package for the core and the tools.

Each task package exports one ``TASK``. The core imports no task package until a tool needs the task of its config. The
modules of a package are imported one by one, when they are needed, as each may load an MM package.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from mmengine.config import Config
from torch import nn

from ..io.readable import find_images

# Folder of configs/: package.
PACKAGES = {
    'cls': 'mogacls',
    'det': 'mogadet',
    'seg': 'mogaseg',
    'pose': 'mogapose',
    'expose': 'mogapose.expose',
    'video': 'mogavideo',
}
# Scopes of the MM packages' own configs, which import no task package.
SCOPES = {'cls': 'mmpretrain', 'det': 'mmdet', 'seg': 'mmseg', 'pose': 'mmpose'}


@runtime_checkable
class Counting(Protocol):
    """Module ``complexity``: parameters and multiply-adds of a model."""

    COUNTERS: Mapping[str, str]
    """The counters of the task, each with a text on the operations that it counts."""
    PAPER_COUNTER: str
    """The counter behind the paper's digits."""

    def count(self, cfg: Config, shape: tuple[int, int] | None = None, counter: str = ...) -> Any:
        """Count ``cfg.model`` for one input of ``shape`` (H, W). Return a ``moganet.paper.complexity.Complexity``."""


class Predictor(Protocol):
    """A model with the weights of a checkpoint, for single inputs."""

    model: nn.Module
    draw: Callable[..., str]
    """``draw(input_path, picture_path)`` writes a picture of the prediction and returns the prediction in words.

    Of a task that takes boxes, it has the argument ``boxes``, (N, 4) as x1, y1, x2, y2 in pixels, too.
    """


@runtime_checkable
class MiniData(Protocol):
    """Module ``mini``: a small data set on disk."""

    ROOT: str
    """The folder that the mini configs read."""

    def make(self, root: str | Path = ...) -> str:
        """Write the data under ``root`` unless they are there; return a summary."""

    def use(self, cfg: Config, root: str = ...) -> None:
        """Point ``cfg`` at the data under ``root``, writing them if need be, in place."""


@runtime_checkable
class Demo(Protocol):
    """Module ``demo``: train on the mini data and show the result."""

    CONFIG: str
    """The config that is trained."""

    def run(self, cfg: Config) -> Any:
        """Train ``cfg``, draw and print; return the metrics."""


@runtime_checkable
class Augmentation(Protocol):
    """Module ``tta``: test-time augmentation for configs that bring none."""

    def set_default(self, cfg: Config) -> None:
        """Add ``tta_model`` and ``tta_pipeline`` to ``cfg``, in place."""


@runtime_checkable
class Benchmark(Protocol):
    """Module ``benchmark``: speed beside the task's baselines."""

    def measure(self, rounds: int) -> Sequence[Any]:
        """Return the results of so many rounds."""


@dataclass(frozen=True)
class Task:
    """The interface of a task for the core and the tools.

    Args:
        name: Its folder in ``configs/``.
        package: The package that exports this object. Its modules are named like the properties below.
        find_inputs: Returns the inputs that paths of the command line name.
        nouns: Names of an input and of the part of the model whose parameters are counted separately.
        takes_boxes: The predictor accepts a box around each subject.
        has_tta: The package has a module ``tta``.
        has_benchmark: The package has a module ``benchmark``.
    """

    name: str
    package: str
    find_inputs: Callable[[Sequence[str]], list[Path]] = find_images
    nouns: tuple[str, str] = ('image', 'backbone')
    takes_boxes: bool = False
    has_tta: bool = False
    has_benchmark: bool = False

    @property
    def complexity(self) -> Counting:
        """Counts of parameters and multiply-adds."""
        return self.module('complexity')

    @property
    def predictor(self) -> Callable[[Config, str], Predictor]:
        """The class that makes a predictor from a config and a checkpoint."""
        return self.module('infer').Predictor

    @property
    def mini(self) -> MiniData:
        """The mini data."""
        return self.module('mini')

    @property
    def demo(self) -> Demo:
        """The demo."""
        return self.module('demo')

    @property
    def tta(self) -> Augmentation | None:
        """The default test-time augmentation, if the task has one."""
        return self.module('tta') if self.has_tta else None

    @property
    def benchmark(self) -> Benchmark | None:
        """The benchmark, if the task has one."""
        return self.module('benchmark') if self.has_benchmark else None

    def box_subject(self, cfg: Config) -> str:
        """Return the class of the subjects in boxes, such as 'person'; '' if the task takes no boxes."""
        return self.module('infer').subject(cfg) if self.takes_boxes else ''

    def module(self, name: str) -> Any:
        """Import a module of the package.

        Raises:
            ValueError: a package that the module imports is not installed.
        """
        return _import(self.name, f'{self.package}.{name}')


def find_task(name: str) -> Task:
    """Return a task by its name, importing its package.

    Raises:
        ValueError: there is no task of that name, or its package or something that needs is not installed.
    """
    if name not in PACKAGES:
        raise ValueError(f'{name!r} is no task: expected one of {", ".join(PACKAGES)}')
    return _import(name, PACKAGES[name]).TASK


def task_package(cfg: Config) -> str | None:
    """Return the task package ('mogacls', 'mogadet', ...) that a config imports, or None."""
    imports = cfg.get('custom_imports', {}).get('imports', [])
    names = [name for name in ([imports] if isinstance(imports, str) else imports) if name.startswith('moga')]
    return next((name for name in names if name != 'moganet'), None)


def task_of(cfg: Config) -> str:
    """Return the name of a config's task: by the package that it imports, else by its ``default_scope``.

    Raises:
        ValueError: neither names a task.
    """
    imported = task_package(cfg)
    for task, package in PACKAGES.items():
        if imported == package or (imported is None and cfg.get('default_scope') == SCOPES.get(task, package)):
            return task
    raise ValueError(
        f'{cfg.filename} imports no task package and its default_scope is {cfg.get("default_scope")!r}: expected '
        f'custom_imports with one of {", ".join(PACKAGES.values())}, or one of the scopes {", ".join(SCOPES.values())}'
    )


def _import(task: str, module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise ValueError(f'task {task!r} needs {module}, and {error.name} is not installed') from error
