"""Ours and named rivals by turns in one process, medians over the rounds."""

import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch


@dataclass(frozen=True)
class Result:
    """What ours and a rival's take, in ``unit``. ``ratio`` is ours over theirs; ``goal`` is its upper bound."""

    name: str
    rival: str
    ours: float
    theirs: float
    ratio: float
    goal: float | None = None
    unit: str = 'ms'

    @property
    def missed(self) -> bool:
        return self.goal is not None and self.ratio > self.goal

    def line(self) -> str:
        goal = '' if self.goal is None else f'  goal {self.goal:.3f}  {"MISSED" if self.missed else "ok"}'
        times = f'{1 / self.ratio:.2f}x' if self.ratio else ''
        return (
            f'{self.name:58} {self.ours:9.1f} {self.unit:3}   {self.rival:34} {self.theirs:9.1f} {self.unit:3}   '
            f'ratio {self.ratio:.3f} {times:>7}{goal}'
        )

    def as_dict(self) -> dict:
        return dict(kind='ratio', **asdict(self), missed=self.missed)


def milliseconds(call: Callable[[], object], device: str = 'cpu') -> float:
    """What one call takes; on a GPU between two events on its stream."""
    if device == 'cpu':
        start = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - start)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)


def take_turns(
    calls: dict[str, Callable[[], object]], rounds: int, device: str = 'cpu', warm_ups: int = 1
) -> dict[str, list[float]]:
    """Milliseconds of each call in each round, after its warm-ups; the order is turned round every round."""
    for call in calls.values():
        for _ in range(warm_ups):
            call()
    times = {name: [] for name in calls}
    for i in range(rounds):
        for name in list(calls) if i % 2 else list(calls)[::-1]:
            times[name].append(milliseconds(calls[name], device))
    return times


def result(name: str, ours: list[float], rival_name: str, rival: list[float], goal: float | None = None) -> Result:
    """Compare times of the same rounds: the ratio is per round, so that a machine that slows down slows both sides."""
    ratio = statistics.median(a / b for a, b in zip(ours, rival, strict=True))
    return Result(name, rival_name, statistics.median(ours), statistics.median(rival), ratio, goal)


def compare(
    name: str, ours: Callable[[], object], rival_name: str, rival: Callable[[], object], goal: float, rounds: int = 9
) -> Result:
    """Ours and one rival by turns."""
    times = take_turns(dict(ours=ours, rival=rival), rounds)
    return result(name, times['ours'], rival_name, times['rival'], goal)
