"""Compares inference, training, memory, and throughput against accuracy with the baselines, in bfloat16, in one run.

The goals apply to a GPU of NVIDIA's Hopper generation at 224x224 and batch 128. The imports need torch, timm, MMEngine
and their dependencies alone.
"""

import copy
import functools
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass

import torch
from torch import nn

from ..backbone import MogaNet
from ..fusion import fuse
from . import memory
from .baselines import BASELINES, OURS, build, published_top1
from .interleave import Call, Result, compare_times, time_interleaved
from .roofline import Rate, Roofline, Work, count_work, measure_roofline, rate_from_times
from .workloads import compiled, inference, training_step

DTYPE = torch.bfloat16
# Upper bounds of the time of MogaNet's fastest variant over the time of each baseline.
INFERENCE_GOALS = {'reference mode': 1 / 3.0, 'reference mode, compiled': 1 / 1.3, 'ConvNeXt-T of timm, compiled': 1.0}
TRAINING_GOALS = {'reference mode': 1 / 1.8, 'reference mode, compiled': 1 / 1.25}
# Untimed calls: they compile, let cuDNN choose its algorithms and make the optimizer's state.
WARM_UPS = 3


@dataclass(frozen=True)
class Setting:
    """The setting of a comparison.

    Attributes:
        device: 'cpu' or 'cuda'.
        sizes: Sizes of MogaNet: the first is compared with the reference mode, all are points of the figure.
        side: Height and width of the images in pixels.
        batch: Number of images.
        rounds: Number of timed rounds.
    """

    device: str
    sizes: tuple[str, ...] = ('small', 'xtiny', 'tiny', 'base')
    side: int = 224
    batch: int = 128
    rounds: int = 15

    def images(self) -> torch.Tensor:
        """Return a random batch (B, 3, H, W) in float32."""
        return torch.randn(self.batch, 3, self.side, self.side, device=self.device)

    def for_inference(self, model: nn.Module) -> nn.Module:
        """Move a model to the device, in bfloat16."""
        return model.to(self.device, DTYPE)

    @property
    def title(self) -> str:
        """The size, the input and the batch, as in the names of results."""
        return f'{self.sizes[0]} {self.side}x{self.side} batch {self.batch}'

    @property
    def conditions(self) -> str:
        """Conditions under which throughput is measured, for the title of the figure."""
        return f'{str(DTYPE).removeprefix("torch.")}, eager, {self.side}x{self.side}, batch {self.batch}'

    @functools.cached_property
    def roofline(self) -> Roofline:
        """Rates that the device reaches, measured once."""
        return measure_roofline(self.device, DTYPE, self.rounds)

    def times(self, calls: Mapping[str, Call]) -> dict[str, list[float]]:
        """Time the calls in interleaved rounds, in milliseconds."""
        return time_interleaved(calls, self.rounds, self.device, WARM_UPS)


@dataclass(frozen=True)
class Point:
    """Throughput of a network, measured here, beside its accuracy, published.

    Attributes:
        name: The network.
        images_per_s: Measured in this run.
        published_top1: Top-1 accuracy on ImageNet-1K in percent.
        source: The publication of the accuracy.
        ours: True for MogaNet.
    """

    name: str
    images_per_s: float
    published_top1: float
    source: str
    ours: bool
    missed = False

    def line(self) -> str:
        """Return the row of the printed table."""
        return (
            f'{self.name:58} {self.images_per_s:9.1f} images/s here   '
            f'{self.published_top1:.1f} % top-1, published in {self.source}'
        )

    def as_dict(self) -> dict[str, object]:
        """Return the entry of the json file."""
        return dict(kind='point', **asdict(self))


def sections(setting: Setting) -> dict[str, Callable[[], Sequence[Result | Rate | Point]]]:
    """Return title and measuring call of each section of the benchmark, the most important first."""
    if setting.device == 'cuda':
        torch.backends.cudnn.benchmark = True  # for both sides
    return {
        'inference': functools.partial(compare_inference, setting),
        'training': functools.partial(compare_training, setting),
        'memory': functools.partial(compare_memory, setting),
        'throughput': functools.partial(throughput, setting),
    }


def compare_inference(setting: Setting) -> list[Result | Rate]:
    """Compare inference of MogaNet, fused and not, eager and compiled, with the reference mode and ConvNeXt-T."""
    torch.compiler.reset()  # graphs of other sections count against PyTorch's limit
    torch.manual_seed(0)
    x = setting.images().to(DTYPE)
    arch = setting.sizes[0]
    network = MogaNet(arch).eval()
    # Fused in float32, so that the folded weights are rounded once.
    fused, model = setting.for_inference(fuse(network)), setting.for_inference(network)
    baseline = setting.for_inference(build(BASELINES[0], setting.side))
    x_channels_last = x.contiguous(memory_format=torch.channels_last)
    times = setting.times(
        {
            'fused': inference(fused, x),
            'fused, compiled': inference(compiled(copy.deepcopy(fused)), x),
            'not fused': inference(model, x),
            'not fused, compiled': inference(compiled(copy.deepcopy(model)), x),
            'reference mode': inference(model, x, 'reference'),
            'reference mode, compiled': inference(compiled(copy.deepcopy(model)), x, 'reference'),
            'ConvNeXt-T of timm': inference(baseline, x_channels_last),
            'ConvNeXt-T of timm, compiled': inference(compiled(copy.deepcopy(baseline)), x_channels_last),
        }
    )
    ours = ('fused', 'fused, compiled', 'not fused', 'not fused, compiled')
    shape = tuple(x.shape)
    work = count_work(functools.partial(MogaNet, arch), shape)
    baseline_work = count_work(functools.partial(build, BASELINES[0], setting.side), shape)
    works = {name: baseline_work if 'ConvNeXt' in name else work for name in times}
    return ratios_and_rates(f'inference, {setting.title}', times, ours, INFERENCE_GOALS, setting, works)


def compare_training(setting: Setting) -> list[Result | Rate]:
    """Compare a training step with the reference mode, eager and compiled.

    A step is forward under autocast, backward and AdamW.
    """
    torch.compiler.reset()
    torch.manual_seed(0)
    x = setting.images()
    arch = setting.sizes[0]

    def step(mode: str, change: Callable[[nn.Module], nn.Module] = lambda model: model) -> Callable[[], None]:
        model = MogaNet(arch).to(setting.device).train()
        optimizer = torch.optim.AdamW(model.parameters(), fused=True)
        return training_step(change(model), x, mode, optimizer, DTYPE)

    times = setting.times(
        {
            'eager': step('auto'),
            'compiled': step('auto', compiled),
            'reference mode': step('reference'),
            'reference mode, compiled': step('reference', compiled),
        }
    )
    works = dict.fromkeys(times, count_work(functools.partial(MogaNet, arch), tuple(x.shape), training=True))
    title = f'training step, {setting.title}'
    return ratios_and_rates(title, times, ('eager', 'compiled'), TRAINING_GOALS, setting, works)


def compare_memory(setting: Setting) -> list[Result]:
    """Compare the peak memory of the eager training step of ``compare_training``."""
    goals = memory.GOALS if setting.device == 'cuda' else (None, None)
    return memory.peaks(setting.sizes[0], setting.side, setting.batch, goals, setting.device, 'bfloat16')


def ratios_and_rates(
    title: str,
    times: dict[str, list[float]],
    ours: tuple[str, ...],
    goals: dict[str, float],
    setting: Setting,
    works: dict[str, Work],
) -> list[Result | Rate]:
    """Return the ratio of each variant of MogaNet to each baseline, then the throughput of all.

    Args:
        title: The beginning of the results' names.
        times: Milliseconds of each variant and of each baseline.
        ours: The names in ``times`` that are variants of MogaNet.
        goals: Upper bounds by baseline. They apply to the fastest variant alone, on a GPU alone.
        setting: The setting of the comparison.
        works: The work of each name in ``times`` on a batch.
    """
    fastest = min(ours, key=lambda variant: statistics.median(times[variant]))
    results: list[Result | Rate] = []
    for variant in ours:
        for baseline in (name for name in times if name not in ours):
            goal = goals.get(baseline) if variant == fastest and setting.device == 'cuda' else None
            results.append(compare_times(f'{title}, {variant}', times[variant], baseline, times[baseline], goal))
    for name in times:
        rate = rate_from_times(f'{title}, {name}', times[name], setting.batch, works[name], setting.roofline, DTYPE)
        results.append(rate)
    return results


def throughput(setting: Setting) -> list[Point]:
    """Measure images per second of the fused sizes and of all baselines.

    All run eager, which needs no compiler and no minutes of compilation; the baselines run channels-last.
    """
    torch.manual_seed(0)
    x = setting.images().to(DTYPE)
    x_channels_last = x.contiguous(memory_format=torch.channels_last)
    calls, published = {}, {}
    for arch in setting.sizes:
        name = f'MogaNet-{OURS[arch]}'
        calls[name] = inference(setting.for_inference(fuse(MogaNet(arch).eval())), x)
        published[name] = (published_top1(arch), 'arXiv:2211.03295', True)
    for baseline in BASELINES:
        calls[baseline.name] = inference(setting.for_inference(build(baseline, setting.side)), x_channels_last)
        published[baseline.name] = (baseline.top1, baseline.source, False)
    times = setting.times(calls)
    return [Point(name, 1e3 * setting.batch / statistics.median(times[name]), *published[name]) for name in times]
