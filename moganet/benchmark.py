"""Speed as ratios: ours and a named rival by turns in one process, medians over the rounds."""

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from torch import nn

from . import ops
from .backbone import MogaNet
from .transcription import PlainMogaNet


@dataclass(frozen=True)
class Result:
    """Medians in milliseconds. ``ratio`` is ours over the rival's, below 1 is faster; ``goal`` is its upper bound."""

    name: str
    rival: str
    ours_ms: float
    rival_ms: float
    ratio: float
    goal: float | None = None

    @property
    def missed(self) -> bool:
        return self.goal is not None and self.ratio > self.goal

    def line(self) -> str:
        goal = '' if self.goal is None else f'  goal {self.goal:.2f}  {"MISSED" if self.missed else "ok"}'
        return (f'{self.name:52} {self.ours_ms:9.1f} ms   {self.rival:34} {self.rival_ms:9.1f} ms   '
                f'ratio {self.ratio:.3f}{goal}')  # fmt: skip

    def as_dict(self) -> dict:
        return asdict(self)


def take_turns(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each call in each round, after one warm-up each; the order is turned round every round."""
    for call in calls.values():
        call()
    times = {name: [] for name in calls}
    for i in range(rounds):
        for name in list(calls) if i % 2 else list(calls)[::-1]:
            start = time.perf_counter()
            calls[name]()
            times[name].append(1e3 * (time.perf_counter() - start))
    return times


def result(name: str, ours: list[float], rival_name: str, rival: list[float], goal: float | None = None) -> Result:
    """Compare times of the same rounds: the ratio is per round, so that a machine that slows down slows both sides."""
    ratio = statistics.median(a / b for a, b in zip(ours, rival, strict=True))
    return Result(name, rival_name, statistics.median(ours), statistics.median(rival), ratio, goal)


def compare(name: str, ours: Callable[[], object], rival_name: str, rival: Callable[[], object], goal: float,
            rounds: int = 9) -> Result:  # fmt: skip
    """Ours and one rival by turns."""
    times = take_turns(dict(ours=ours, rival=rival), rounds)
    return result(name, times['ours'], rival_name, times['rival'], goal)


def _training_step(model: nn.Module, x: torch.Tensor, path: str = 'reference',
                   optimizer: torch.optim.Optimizer | None = None) -> Callable[[], None]:  # fmt: skip
    def step() -> None:
        with ops.use(path):
            out = model(x)
            out = out[-1] if isinstance(out, tuple) else out
            # Behind a norm the mean of squares is a constant: its gradient would be nothing but rounding.
            (out * torch.linspace(-1, 1, out.numel()).view_as(out)).mean().backward()
        if optimizer:
            optimizer.step()
        model.zero_grad(set_to_none=True)

    return step


def _inference(model: nn.Module, x: torch.Tensor, path: str = 'reference') -> Callable[[], None]:
    @torch.inference_mode()
    def run() -> None:
        with ops.use(path):
            model(x)

    return run


def measure(rounds: int) -> list[Result]:
    """What concerns the core: the import, the reference path, and the faster one beside it."""
    return [
        import_time(),
        *reference_path(rounds=rounds),
        *faster_path('xtiny', 64, 64, rounds),
        *faster_path('small', 224, 4, max(1, rounds // 3)),
    ]


def faster_path(arch: str, side: int, batch: int, rounds: int) -> list[Result]:
    """The faster path beside the reference path: a whole training step, with AdamW, and inference, float32."""
    torch.manual_seed(0)
    x = torch.randn(batch, 3, side, side)
    title, rival = f'{arch} {side}x{side} batch {batch}', 'reference path'
    steps, runs = {}, {}
    for path in ('auto', 'reference'):
        model = MogaNet(arch).train()
        steps[path] = _training_step(model, x, path, torch.optim.AdamW(model.parameters()))
        runs[path] = _inference(MogaNet(arch).eval(), x, path)
    return [
        compare(f'training step, {title}', steps['auto'], rival, steps['reference'], 0.5, rounds),
        compare(f'inference, {title}', runs['auto'], rival, runs['reference'], 1.0, rounds),
    ]


def reference_path(arch: str = 'xtiny', side: int = 64, batch: int = 16, rounds: int = 15) -> list[Result]:
    """Our reference path beside the transcription in plain layers: inference and a training step, float32, NCHW."""
    torch.manual_seed(0)
    ours, plain = MogaNet(arch), PlainMogaNet(arch)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(batch, 3, side, side)
    title = f'{arch} {side}x{side} batch {batch}'
    train = compare(f'training step, {title}', _training_step(ours.train(), x), 'transcription in plain layers',
                    _training_step(plain.train(), x), 1.05, rounds)  # fmt: skip
    infer = compare(f'inference, {title}', _inference(ours.eval(), x), 'transcription in plain layers',
                    _inference(plain.eval(), x), 1.05, rounds)  # fmt: skip
    return [train, infer]


def import_time(rounds: int = 5, goal_s: float = 0.3) -> Result:
    """What ``import moganet`` adds to ``import torch, mmengine``, in fresh interpreters."""
    script = 'import time, torch, mmengine; a = time.perf_counter(); import moganet; print(time.perf_counter() - a)'
    added = [float(_python(script)) for _ in range(rounds)]
    base = 'import time; a = time.perf_counter(); import torch, mmengine; print(time.perf_counter() - a)'
    before = [float(_python(base)) for _ in range(rounds)]
    ours, rival = 1e3 * statistics.median(added), 1e3 * statistics.median(before)
    # Beside the others this is no ratio of two times for the same work, but the share that our import adds.
    return Result('import moganet, added', 'import torch, mmengine', ours, rival, ours / rival, 1e3 * goal_s / rival)


def _python(script: str) -> str:
    return subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True).stdout
