"""Growth of time and memory of MogaNet-S with the pixels of a batch: over its images, and over their sides.

On a CPU some measurements do not grow with the pixels (``EXPLANATION``, printed below the table):

* Time: a call has some hundreds of operations. Each has a fixed cost, however small its map is, and all weights are
  read once. For one image of 128x128 this is a quarter of the time, in training half; from 224x224 on it is little.
* Memory of a training step: the gradients of the weights, 95 MiB, and the buffers of the operations do not grow.
* Memory of inference: large batches pass through the blocks a few images at a time, as many as fit in the processor's
  cache. Memory therefore grows more slowly than the number of images; a single image cannot be divided.
"""

import functools
import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

import torch

from ..backbone import MogaNet
from ..fusion import fuse
from . import memory
from .fresh_process import in_fresh_process
from .interleave import milliseconds
from .workloads import inference, training_step

ARCH = 'small'
BATCHES, SIDE = (1, 2, 4, 8, 16, 32, 64), 224
SIDES = (128, 224, 320, 448, 640, 896)  # at batch 1
TASKS = ('inference', 'training step')
# Ratios within this range count as linear growth; others get a star.
LINEAR_RANGE = (0.8, 1.25)
EXPLANATION = (
    '* not in proportion to the pixels: small maps cost the time of calling operations; in training the gradients of '
    'the weights do not grow; at inference large batches pass through the blocks a few images at a time'
)
MAX_SECONDS, MAX_ROUNDS = 4, 9  # per point; at least one round is timed


@dataclass(frozen=True)
class Growth:
    """A point of a series.

    Attributes:
        series: The task and the varied quantity.
        batch: Number of images.
        side: Height and width in pixels.
        ms: Milliseconds a batch.
        mib: Peak memory in MiB.
        time_ratio: Time per pixel over the median of the series; 1 is linear growth.
        memory_ratio: Memory per pixel over the median of the series.
    """

    series: str
    batch: int
    side: int
    ms: float
    mib: float
    time_ratio: float = 1.0
    memory_ratio: float = 1.0
    missed = False

    @property
    def pixels(self) -> int:
        """Number of pixels in the batch."""
        return self.batch * self.side**2

    def line(self) -> str:
        """Return the row of the printed table, with a star beside ratios outside ``LINEAR_RANGE``."""
        low, high = LINEAR_RANGE
        stars = ['' if low <= ratio <= high else ' *' for ratio in (self.time_ratio, self.memory_ratio)]
        return (
            f'{self.series:28} batch {self.batch:3}  side {self.side:4}  {self.pixels / 1e6:7.3f} Mpixel  '
            f'{self.ms:10.1f} ms  x{self.time_ratio:5.2f}{stars[0]:2}  {self.mib:9.1f} MiB  '
            f'x{self.memory_ratio:5.2f}{stars[1]}'
        )

    def as_dict(self) -> dict[str, object]:
        """Return the entry of the json file."""
        return dict(kind='growth', **asdict(self))


def sections(device: str) -> dict[str, Callable[[], list[Growth]]]:
    """Return title and measuring call of each section of the benchmark."""
    series = {'over images': [(batch, SIDE) for batch in BATCHES], 'over sides': [(1, side) for side in SIDES]}
    return {
        f'{task} {name}': functools.partial(measure_series, task, name, shapes, device)
        for task in TASKS
        for name, shapes in series.items()
    }


def measure_series(task: str, name: str, shapes: Iterable[tuple[int, int]], device: str) -> list[Growth]:
    """Measure time and peak memory of a task at each (batch, side), and compare them with the number of pixels."""
    points = []
    for batch, side in shapes:
        if device == 'cuda':
            ms, mib = measure_point(task, batch, side, device)
        else:  # a process does not return all memory that it frees: each point has its own
            ms, mib = in_fresh_process(measure_point, task=task, batch=batch, side=side, device=device)
        points.append(Growth(f'{task} {name}', batch, side, ms, mib))
    return with_ratios(points)


def with_ratios(points: list[Growth]) -> list[Growth]:
    """Return the points of a series with their ratios to the median per pixel."""
    ms, mib = (statistics.median(getattr(p, key) / p.pixels for p in points) for key in ('ms', 'mib'))
    return [replace(p, time_ratio=p.ms / p.pixels / ms, memory_ratio=p.mib / p.pixels / mib) for p in points]


def measure_point(task: str, batch: int, side: int, device: str) -> tuple[float, float]:
    """Measure one point in this process.

    Returns:
        Median milliseconds, and the MiB by which the peak exceeds the memory before the first call. These are maps,
        and gradients in training.
    """
    torch.manual_seed(0)
    x = torch.randn(batch, 3, side, side, device=device)
    model = MogaNet(ARCH)
    if task == 'inference':
        call = inference(fuse(model.eval()).to(device), x)
    else:
        call = training_step(model.to(device).train(), x)
    before = memory.now(device)
    memory.reset_peak(device)
    call()
    peak = memory.peak(device)
    times = [milliseconds(call, device)]
    while sum(times) + statistics.median(times) < 1e3 * MAX_SECONDS and len(times) < MAX_ROUNDS:
        times.append(milliseconds(call, device))
    return statistics.median(times), (peak - before) / memory.MIB
