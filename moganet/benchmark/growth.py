"""How time and memory of MogaNet-S grow with the pixels of a batch: over its images, and over their sides.

Where they do not grow with the pixels, on a CPU (``EXPLANATION``, which is printed below the table):

* Time: a call has some hundreds of operations, each of which costs some time however small its map is, and reads all
  weights. That is a quarter of the time of one image of 128x128, in training half, and little from 224x224 on.
* Memory of a training step: the gradients of the weights, 95 MiB, and the operations' own buffers do not grow. The rest
  does.
* Memory of inference: the blocks of large batches take a few images at a time, as many as the processor's cache holds,
  so that over images it grows more slowly than the pixels; over sides an image cannot be divided.
"""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, replace

import torch

from ..backbone import MogaNet
from ..fusion import fuse
from . import memory
from .interleave import milliseconds
from .workloads import inference, training_step

ARCH = 'small'
BATCHES, SIDE = (1, 2, 4, 8, 16, 32, 64), 224
SIDES = (128, 224, 320, 448, 640, 896)  # at batch 1
TASKS = ('inference', 'training step')
# Beside a straight line through the point in the middle.
NEAR = (0.8, 1.25)
EXPLANATION = (
    '* not in proportion to the pixels: small maps cost the time of calling operations; in training the gradients of '
    'the weights do not grow; at inference large batches pass through the blocks a few images at a time'
)
SECONDS = 4  # one point takes no more rounds than fit in here, and at least one


@dataclass(frozen=True)
class Growth:
    """A point of a series. Per pixel over the series' median: ``time_ratio``, ``memory_ratio``; 1 is linear growth."""

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
        return self.batch * self.side**2

    def line(self) -> str:
        marks = ['' if NEAR[0] <= ratio <= NEAR[1] else ' *' for ratio in (self.time_ratio, self.memory_ratio)]
        return (
            f'{self.series:28} batch {self.batch:3}  side {self.side:4}  {self.pixels / 1e6:7.3f} Mpixel  '
            f'{self.ms:10.1f} ms  x{self.time_ratio:5.2f}{marks[0]:2}  {self.mib:9.1f} MiB  '
            f'x{self.memory_ratio:5.2f}{marks[1]}'
        )

    def as_dict(self) -> dict:
        return dict(kind='growth', **asdict(self))


def parts(device: str) -> dict[str, Callable[[], Iterable[Growth]]]:
    """Title and what measures it."""
    series = {'over images': [(batch, SIDE) for batch in BATCHES], 'over sides': [(1, side) for side in SIDES]}
    return {
        f'{task} {name}': lambda task=task, name=name, shapes=shapes: grow(task, name, shapes, device)
        for task in TASKS
        for name, shapes in series.items()
    }


def grow(task: str, name: str, shapes: Iterable[tuple[int, int]], device: str) -> list[Growth]:
    """Time and peak memory of a task at each (batch, side), and how far each is from growing with the pixels."""
    points = []
    for batch, side in shapes:
        arguments = dict(task=task, batch=batch, side=side, device=device)
        # Memory of a CPU is that of a process, which returns not all of what it frees.
        found = measure(**arguments) if device == 'cuda' else memory.in_fresh_process('growth:measure', **arguments)
        points.append(Growth(f'{task} {name}', batch, side, *found))
    return compared(points)


def compared(points: list[Growth]) -> list[Growth]:
    """With the ratios of a series."""
    ms, mib = (statistics.median(getattr(p, key) / p.pixels for p in points) for key in ('ms', 'mib'))
    return [replace(p, time_ratio=p.ms / p.pixels / ms, memory_ratio=p.mib / p.pixels / mib) for p in points]


def measure(task: str, batch: int, side: int, device: str) -> tuple[float, float]:
    """Median milliseconds, and MiB at the peak over those before the first call: maps, and gradients in training."""
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
    while sum(times) + statistics.median(times) < 1e3 * SECONDS and len(times) < 9:
        times.append(milliseconds(call, device))
    return statistics.median(times), (peak - before) / memory.MIB
