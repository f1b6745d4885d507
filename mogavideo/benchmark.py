"""Speed of video prediction: the loader beside the model that it feeds."""

from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.utils.data import default_collate

from moganet.benchmark import Result, result, take_turns

from . import mini
from .datasets import FreshClips, MovingImages
from .simvp import SimVP

LOADED, TRAINED = 64, 2  # clips per round
LOADER_GOAL = 1 / 4  # the loader feeds at least four times what the model takes


def training_step(model: nn.Module, clips: int) -> Callable[[], None]:
    """Forward, loss and backward on random clips of 10 frames."""
    frames = torch.rand(clips, *model.in_shape)

    def step() -> None:
        model(frames, frames, mode='loss')['loss'].backward()
        model.zero_grad(set_to_none=True)

    return step


def loading(dataset: MovingImages, clips: int) -> Callable[[], dict]:
    """Make clips and put them into a batch, in this process; other ones in each call."""
    numbers: Iterator[int] = iter(FreshClips(range(clips * 10_000), seed=0))
    return lambda: default_collate([dataset[next(numbers)] for _ in range(clips)])


def loader(model: nn.Module, rounds: int) -> Result:
    """Time per clip of making clips in one process, over that of a training step."""
    mini.make()
    calls = dict(ours=loading(MovingImages(mini.ROOT), LOADED), model=training_step(model, TRAINED))
    times = take_turns(calls, rounds)
    ours, rival = ([ms / n for ms in times[name]] for name, n in (('ours', LOADED), ('model', TRAINED)))
    return result('a clip made on the fly, one process', ours, 'training step, per clip', rival, LOADER_GOAL)


def measure(rounds: int) -> list[Result]:
    """What concerns video prediction: the loader beside SimVP with MogaNet as the tables have it."""
    return [loader(SimVP(), rounds)]
