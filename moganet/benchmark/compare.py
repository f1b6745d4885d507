"""The whole comparison in one run, in bfloat16: inference, training, memory, and throughput against accuracy.

The goals are those of a GPU of NVIDIA's Hopper generation at 224x224 and batch 128. Nothing but torch, timm, MMEngine
and what these bring is imported.
"""

import copy
import functools
import statistics
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import torch
from torch import nn

from ..backbone import MogaNet
from ..fusion import fuse
from . import memory
from .baselines import OURS, RIVALS, build, published_top1
from .interleave import Result, result, take_turns
from .roofline import Ceilings, Rate, count, measure_ceilings, rate
from .workloads import compiled, inference, training_step

DTYPE = torch.bfloat16
# Upper bounds of the fastest of ours over each way of the reference path, and over ConvNeXt-T's.
INFERENCE_GOALS = {'reference path': 1 / 3.0, 'reference path, compiled': 1 / 1.3, 'ConvNeXt-T of timm, compiled': 1.0}
TRAINING_GOALS = {'reference path': 1 / 1.8, 'reference path, compiled': 1 / 1.25}
# Calls before the first one that counts: compilation, cuDNN's choice, the optimizer's state.
WARM_UPS = 3


@dataclass(frozen=True)
class Setting:
    """What is compared. The first of ``sizes`` stands beside the reference path; all are points of the picture."""

    device: str
    sizes: tuple[str, ...] = ('small', 'xtiny', 'tiny', 'base')
    side: int = 224
    batch: int = 128
    rounds: int = 15

    def images(self) -> torch.Tensor:
        return torch.randn(self.batch, 3, self.side, self.side, device=self.device)

    def place(self, model: nn.Module) -> nn.Module:
        """For inference."""
        return model.to(self.device, DTYPE)

    @property
    def title(self) -> str:
        return f'{self.sizes[0]} {self.side}x{self.side} batch {self.batch}'

    @property
    def words(self) -> str:
        """How throughput is measured."""
        return f'{str(DTYPE).removeprefix("torch.")}, eager, {self.side}x{self.side}, batch {self.batch}'

    @functools.cached_property
    def ceilings(self) -> Ceilings:
        return measure_ceilings(self.device, DTYPE, self.rounds)

    def times(self, calls: dict[str, Callable[[], object]]) -> dict[str, list[float]]:
        return take_turns(calls, self.rounds, self.device, WARM_UPS)


@dataclass(frozen=True)
class Point:
    """Images per second, measured here, and top-1 accuracy in percent, published: two columns, never to be mixed."""

    name: str
    images_per_s: float
    published_top1: float
    source: str
    ours: bool
    missed = False

    def line(self) -> str:
        return (
            f'{self.name:58} {self.images_per_s:9.1f} images/s here   '
            f'{self.published_top1:.1f} % top-1, published in {self.source}'
        )

    def as_dict(self) -> dict:
        return dict(kind='point', **asdict(self))


def parts(setting: Setting) -> dict[str, Callable[[], Iterable[Result | Rate | Point]]]:
    """Title and what measures it, most wanted first."""
    if setting.device == 'cuda':
        torch.backends.cudnn.benchmark = True  # for both sides
    return {
        'inference': lambda: compare_inference(setting),
        'training': lambda: compare_training(setting),
        'memory': lambda: compare_memory(setting),
        'throughput': lambda: throughput(setting),
    }


def compare_inference(setting: Setting) -> list[Result | Rate]:
    """Ours fused and not, eager and compiled, beside the reference path and ConvNeXt-T."""
    torch.compiler.reset()  # graphs of other parts count against PyTorch's limit
    torch.manual_seed(0)
    x = setting.images().to(DTYPE)
    arch = setting.sizes[0]
    model = MogaNet(arch).eval()
    # Folded in float32: rounded once.
    fused, model = setting.place(fuse(model)), setting.place(model)
    rival = setting.place(build(RIVALS[0], setting.side)).to(memory_format=torch.channels_last)
    last = x.contiguous(memory_format=torch.channels_last)
    times = setting.times(
        {
            'fused': inference(fused, x),
            'fused, compiled': inference(compiled(copy.deepcopy(fused)), x),
            'not fused': inference(model, x),
            'not fused, compiled': inference(compiled(copy.deepcopy(model)), x),
            'reference path': inference(model, x, 'reference'),
            'reference path, compiled': inference(compiled(copy.deepcopy(model)), x, 'reference'),
            'ConvNeXt-T of timm': inference(rival, last),
            'ConvNeXt-T of timm, compiled': inference(compiled(copy.deepcopy(rival)), last),
        }
    )
    ours = ('fused', 'fused, compiled', 'not fused', 'not fused, compiled')
    shape = tuple(x.shape)
    works = {way: count(functools.partial(MogaNet, arch), shape) for way in times if 'ConvNeXt' not in way}
    works |= {way: count(functools.partial(build, RIVALS[0], setting.side), shape) for way in times if way not in works}
    return compared(f'inference, {setting.title}', times, ours, INFERENCE_GOALS, setting, works)


def compare_training(setting: Setting) -> list[Result | Rate]:
    """A step (forward under autocast, backward, AdamW) of ours beside the reference path, eager and compiled."""
    torch.compiler.reset()
    torch.manual_seed(0)
    x = setting.images()
    arch = setting.sizes[0]

    def step(path: str, change: Callable[[nn.Module], nn.Module] = lambda model: model) -> Callable[[], None]:
        model = MogaNet(arch).to(setting.device).train()
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        return training_step(change(model), x, path, optimizer, DTYPE)

    times = setting.times(
        {
            'eager': step('auto'),
            'compiled': step('auto', compiled),
            'reference path': step('reference'),
            'reference path, compiled': step('reference', compiled),
        }
    )
    work = count(functools.partial(MogaNet, arch), tuple(x.shape), training=True)
    works = dict.fromkeys(times, work)
    return compared(f'training step, {setting.title}', times, ('eager', 'compiled'), TRAINING_GOALS, setting, works)


def compare_memory(setting: Setting) -> list[Result]:
    """Peaks of a training step, as ``compare_training`` has it, eager."""
    goals = memory.GOALS if setting.device == 'cuda' else (None, None)
    return memory.peaks(setting.sizes[0], setting.side, setting.batch, goals, setting.device, 'bfloat16')


def compared(
    title: str,
    times: dict[str, list[float]],
    ours: tuple[str, ...],
    goals: dict[str, float],
    setting: Setting,
    works: dict,
) -> list[Result | Rate]:
    """Each way of ours over each rival; the fastest one has the goals, on a GPU. Then all in images per second."""
    fastest = min(ours, key=lambda way: statistics.median(times[way]))
    results = []
    for way in ours:
        for rival in (name for name in times if name not in ours):
            goal = goals.get(rival) if way == fastest and setting.device == 'cuda' else None
            results.append(result(f'{title}, {way}', times[way], rival, times[rival], goal))
    rates = [rate(f'{title}, {way}', times[way], setting.batch, works[way], setting.ceilings, DTYPE) for way in times]
    return results + rates


def throughput(setting: Setting) -> list[Point]:
    """Images per second of our sizes, fused, and of all rivals, channels-last; eager, as each runs at once anywhere."""
    torch.manual_seed(0)
    x = setting.images().to(DTYPE)
    last = x.contiguous(memory_format=torch.channels_last)
    calls = {f'MogaNet-{OURS[arch]}': inference(setting.place(fuse(MogaNet(arch).eval())), x) for arch in setting.sizes}
    facts = {f'MogaNet-{OURS[arch]}': (published_top1(arch), 'arXiv:2211.03295', True) for arch in setting.sizes}
    for rival in RIVALS:
        model = setting.place(build(rival, setting.side)).to(memory_format=torch.channels_last)
        calls[rival.name] = inference(model, last)
        facts[rival.name] = (rival.top1, rival.source, False)
    times = setting.times(calls)
    return [Point(name, 1e3 * setting.batch / statistics.median(times[name]), *facts[name]) for name in times]
