"""Speed of video prediction: MogaNet's translator against baselines, and the loader against the training step."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch.utils.data import default_collate

from moganet.benchmark import Result, compare_times, time_interleaved
from moganet.paper import metafile

from . import mini
from .datasets import FreshClips, MovingImages
from .simvp import SimVP
from .translators import TRANSLATORS

OURS = 'moganet'
# Goals: MogaNet's time over the baseline's. In the paper, MogaNet is slower than all three on a V100.
BASELINES = {'van': 1.0, 'hornet': 1.0, 'convnext': None}
CLIPS = 2  # of the model per round, 10 frames in and 10 out
LOADED_CLIPS = 64  # of the loader per round
LOADER_GOAL = 1 / 4  # one loader process feeds at least four training processes
FPS, FPS_ROUNDS = 'FPS (V100)', 3


@dataclass(frozen=True)
class Throughput:
    """Clips per second on this machine, beside the paper's number on a V100 with a batch of 100: not comparable."""

    name: str
    clips_per_second: float
    paper: str
    missed: bool = False

    def line(self) -> str:
        """Return the line of the report."""
        return (
            f'{self.name:52} {self.clips_per_second:9.2f} clips/s here   {self.paper:>6} clips/s on a V100, the paper'
        )

    def as_dict(self) -> dict:
        """Return the numbers for a JSON file."""
        return {'name': self.name, 'clips_per_s': self.clips_per_second, FPS: float(self.paper)}


def training_step(model: SimVP, clips: int) -> Callable[[], None]:
    """Return a function that runs forward, loss and backward on random clips of 10 frames."""
    frames = torch.rand(clips, *model.in_shape)

    def step() -> None:
        model.train()
        model(frames, frames, mode='loss')['loss'].backward()
        model.zero_grad(set_to_none=True)

    return step


def inference(model: SimVP, clips: int) -> Callable[[], None]:
    """Return a function that predicts the next 10 frames of random clips of 10 frames."""
    frames = torch.rand(clips, *model.in_shape)

    @torch.no_grad()
    def run() -> None:
        model.eval()
        model(frames)

    return run


def loading(dataset: MovingImages, clips: int) -> Callable[[], dict]:
    """Return a function that makes a batch of new clips in this process at each call."""
    numbers: Iterator[int] = iter(FreshClips(range(clips * 10_000), seed=0))
    return lambda: default_collate([dataset[next(numbers)] for _ in range(clips)])


def loader(model: SimVP, rounds: int) -> Result:
    """Measure the time per clip of the loader in one process over the time per clip of a training step."""
    mini.make()
    calls: dict[str, Callable[[], object]] = dict(
        loader=loading(MovingImages(mini.ROOT), LOADED_CLIPS),
        model=training_step(model, CLIPS),
    )
    times = time_interleaved(calls, rounds)
    per_loaded = [ms / LOADED_CLIPS for ms in times['loader']]
    per_trained = [ms / CLIPS for ms in times['model']]
    return compare_times(
        'a clip made on the fly, one process', per_loaded, 'training step, per clip', per_trained, LOADER_GOAL
    )


def translators(rounds: int) -> list[Result]:
    """Measure training and inference of SimVP with MogaNet over each baseline, at the size of the tables."""
    models = {name: SimVP(translator=name) for name in (OURS, *BASELINES)}
    results = []
    for phase, call in (('training step', training_step), ('inference', inference)):
        times = time_interleaved({name: call(model, CLIPS) for name, model in models.items()}, rounds)
        title = f'{phase}, SimVP with {OURS}, {CLIPS} clips'
        results += [compare_times(title, times[OURS], name, times[name], goal) for name, goal in BASELINES.items()]
    return results


def throughput(rounds: int) -> list[Throughput]:
    """Measure clips per second of all translators in inference, beside the paper's numbers."""
    paper = {row.name: row.numbers[FPS].text for row in metafile.rows('video') if FPS in row.numbers}
    results = []
    for name in TRANSLATORS:
        times = time_interleaved({name: inference(SimVP(translator=name), CLIPS)}, rounds)[name]
        clips_per_second = 1e3 * CLIPS / statistics.median(times)
        results.append(Throughput(f'inference, SimVP with {name}', clips_per_second, paper[f'simvp_{name}_mmnist']))
    return results


def measure(rounds: int) -> list[Result | Throughput]:
    """Measure the loader, the translators against baselines, and the throughput of all translators."""
    torch.manual_seed(0)
    return [loader(SimVP(), rounds), *translators(rounds), *throughput(min(rounds, FPS_ROUNDS))]
