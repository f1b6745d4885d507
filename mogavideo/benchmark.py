"""Speed of video prediction: MogaNet's translator beside others, and the loader beside the model that it feeds."""

import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.utils.data import default_collate

from moganet.benchmark import Result, compare_times, time_interleaved
from moganet.paper import metafile

from . import mini
from .datasets import FreshClips, MovingImages
from .simvp import SimVP
from .translators import TRANSLATORS

OURS = 'moganet'
# The paper has MogaNet below all three on a V100.
RIVALS = {'van': 1.0, 'hornet': 1.0, 'convnext': None}
CLIPS = 2  # per round, of 10 frames in and 10 out
LOADED = 64  # clips per round
LOADER_GOAL = 1 / 4  # the loader feeds at least four times what the model takes
FPS, FPS_ROUNDS = 'FPS (V100)', 3


@dataclass(frozen=True)
class Throughput:
    """Clips per second here, and what the paper has on a V100 with a batch of 100: two columns, never to be mixed."""

    name: str
    here: float
    paper: str
    missed: bool = False

    def line(self) -> str:
        return f'{self.name:52} {self.here:9.2f} clips/s here   {self.paper:>6} clips/s on a V100, the paper'

    def as_dict(self) -> dict:
        return {'name': self.name, 'clips_per_s': self.here, FPS: float(self.paper)}


def training_step(model: nn.Module, clips: int) -> Callable[[], None]:
    """Forward, loss and backward on random clips of 10 frames."""
    frames = torch.rand(clips, *model.in_shape)

    def step() -> None:
        model.train()
        model(frames, frames, mode='loss')['loss'].backward()
        model.zero_grad(set_to_none=True)

    return step


def inference(model: nn.Module, clips: int) -> Callable[[], None]:
    """The next 10 frames of random clips of 10 frames."""
    frames = torch.rand(clips, *model.in_shape)

    @torch.no_grad()
    def run() -> None:
        model.eval()
        model(frames)

    return run


def loading(dataset: MovingImages, clips: int) -> Callable[[], dict]:
    """Make clips and put them into a batch, in this process; other ones in each call."""
    numbers: Iterator[int] = iter(FreshClips(range(clips * 10_000), seed=0))
    return lambda: default_collate([dataset[next(numbers)] for _ in range(clips)])


def loader(model: nn.Module, rounds: int) -> Result:
    """Time per clip of making clips in one process, over that of a training step."""
    mini.make()
    calls = dict(ours=loading(MovingImages(mini.ROOT), LOADED), model=training_step(model, CLIPS))
    times = time_interleaved(calls, rounds)
    ours, rival = ([ms / n for ms in times[name]] for name, n in (('ours', LOADED), ('model', CLIPS)))
    return compare_times('a clip made on the fly, one process', ours, 'training step, per clip', rival, LOADER_GOAL)


def translators(rounds: int) -> list[Result]:
    """Training and inference of SimVP with MogaNet over each rival, at the size of the tables."""
    models = {name: SimVP(translator=name) for name in (OURS, *RIVALS)}
    results = []
    for what, call in (('training step', training_step), ('inference', inference)):
        times = time_interleaved({name: call(model, CLIPS) for name, model in models.items()}, rounds)
        title = f'{what}, SimVP with {OURS}, {CLIPS} clips'
        results += [compare_times(title, times[OURS], name, times[name], goal) for name, goal in RIVALS.items()]
    return results


def throughput(rounds: int) -> list[Throughput]:
    """Clips per second of all translators, in inference, beside the paper's."""
    printed = {row.name: row.numbers[FPS].text for row in metafile.rows('video') if FPS in row.numbers}
    found = []
    for name in TRANSLATORS:
        times = time_interleaved({name: inference(SimVP(translator=name), CLIPS)}, rounds)[name]
        found.append(
            Throughput(
                f'inference, SimVP with {name}', 1e3 * CLIPS / statistics.median(times), printed[f'simvp_{name}_mmnist']
            )
        )
    return found


def measure(rounds: int) -> list[Result | Throughput]:
    """What concerns video prediction."""
    torch.manual_seed(0)
    return [loader(SimVP(), rounds), *translators(rounds), *throughput(min(rounds, FPS_ROUNDS))]
