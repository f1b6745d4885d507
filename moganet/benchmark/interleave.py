"""Interleaved timing: MogaNet and its baselines alternate in one process, and medians over the rounds count."""

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

import torch

Call = Callable[[], object]


@dataclass(frozen=True)
class Result:
    """A measurement of MogaNet beside that of a baseline.

    Attributes:
        name: The work that is measured, with model, input size and batch.
        baseline: The name of the other side.
        ours: The measurement of MogaNet, in ``unit``.
        theirs: The measurement of the baseline, in ``unit``.
        ratio: ``ours`` over ``theirs``: below 1, MogaNet needs less.
        goal: Upper bound of ``ratio``, or None where there is no goal.
        unit: 'ms' or 'MiB'.
    """

    name: str
    baseline: str
    ours: float
    theirs: float
    ratio: float
    goal: float | None = None
    unit: str = 'ms'

    @property
    def missed(self) -> bool:
        """True if the ratio is above its goal."""
        return self.goal is not None and self.ratio > self.goal

    def line(self) -> str:
        """Return the row of the printed table: both measurements, their ratio, the speed-up, the goal."""
        goal = '' if self.goal is None else f'  goal {self.goal:.3f}  {"MISSED" if self.missed else "ok"}'
        speed_up = f'{1 / self.ratio:.2f}x' if self.ratio else ''
        return (
            f'{self.name:58} {self.ours:9.1f} {self.unit:3}   {self.baseline:34} {self.theirs:9.1f} {self.unit:3}   '
            f'ratio {self.ratio:.3f} {speed_up:>7}{goal}'
        )

    def as_dict(self) -> dict[str, object]:
        """Return the entry of the json file."""
        return dict(kind='ratio', **asdict(self), missed=self.missed)


def milliseconds(call: Call, device: str = 'cpu') -> float:
    """Return the duration of one call; on 'cuda' measured between two events on the stream."""
    if device == 'cpu':
        before = time.perf_counter()
        call()
        return 1e3 * (time.perf_counter() - before)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    call()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end)


def time_interleaved(
    calls: Mapping[str, Call], rounds: int, device: str = 'cpu', warm_ups: int = 1
) -> dict[str, list[float]]:
    """Time every call once a round; the order is reversed from round to round.

    Args:
        calls: Name and call of each side.
        rounds: Number of timed rounds.
        device: 'cpu' or 'cuda'.
        warm_ups: Calls of each side before the first round, which do not count.

    Returns:
        For each name its milliseconds in each round.
    """
    for call in calls.values():
        for _ in range(warm_ups):
            call()
    times: dict[str, list[float]] = {name: [] for name in calls}
    for i in range(rounds):
        for name in list(calls) if i % 2 else list(calls)[::-1]:
            times[name].append(milliseconds(calls[name], device))
    return times


def compare_times(
    name: str, ours: list[float], baseline_name: str, baseline: list[float], goal: float | None = None
) -> Result:
    """Compare milliseconds of the same rounds.

    The ratio is the median of the ratios per round, so that a machine that slows down slows both sides.
    """
    ratio = statistics.median(a / b for a, b in zip(ours, baseline, strict=True))
    return Result(name, baseline_name, statistics.median(ours), statistics.median(baseline), ratio, goal)


def compare_calls(name: str, ours: Call, baseline_name: str, baseline: Call, goal: float, rounds: int = 9) -> Result:
    """Time two calls in interleaved rounds on the CPU and compare them."""
    times = time_interleaved(dict(ours=ours, baseline=baseline), rounds)
    return compare_times(name, times['ours'], baseline_name, times['baseline'], goal)
