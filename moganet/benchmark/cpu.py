"""Benchmark of a CPU: import time, inference and training against the reference mode and timm's networks, memory."""

import functools
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence

import torch

from ..backbone import MogaNet
from ..compat import has_cpu_bfloat16
from ..fusion import fuse
from . import memory
from .baselines import BASELINES, OURS, Baseline, build
from .interleave import Call, Result, compare_calls, compare_times, time_interleaved
from .plain_network import PlainMogaNet
from .roofline import Rate, count_work, rate_from_times, roofline_calls, roofline_from_times
from .workloads import compiled, inference, training_step

SIDE, BATCH, MEMORY_BATCH = 224, 4, 16
REFERENCE, PLAIN = 'reference mode', 'plain network'
MACHINE_BASELINES = BASELINES[:3]
# Upper bounds of the time over the reference mode's, at SIDE and BATCH.
FUSED_GOALS = {'small': 1 / 2.2, 'xtiny': 1 / 1.9, 'tiny': 1 / 1.9, 'base': 1 / 1.9}
COMPILED_GOAL, BFLOAT16_GOAL, LATENCY_GOAL, TRAINING_GOAL = 1 / 2.5, 1 / 3.5, 1 / 1.9, 1 / 2.0
# Upper bound of the reference mode's time over the plain network's.
PLAIN_GOAL = 1.05


def sections(rounds: int) -> dict[str, Callable[[], Sequence[Result | Rate]]]:
    """Return title and measuring call of each section of the benchmark."""
    few_rounds = max(1, rounds // 3)
    return {
        'import': lambda: [import_time()],
        'reference mode': lambda: reference_mode(rounds=rounds),
        'inference, small': lambda: small_inference(SIDE, BATCH, rounds),
        'inference, other sizes': lambda: fused_inference(('xtiny', 'tiny', 'base'), SIDE, BATCH, rounds),
        'latency': lambda: fused_inference(('small',), SIDE, 1, rounds),
        'training, xtiny': lambda: optimised_mode('xtiny', 64, 64, rounds),
        'training, small': lambda: optimised_mode('small', SIDE, BATCH, few_rounds),
        'memory': lambda: [*memory.saved('small', SIDE, BATCH), *memory.peaks('small', SIDE, MEMORY_BATCH)],
    }


def fused_inference(archs: Iterable[str], side: int, batch: int, rounds: int) -> list[Result]:
    """Compare fused networks with the reference mode, float32, eager. At batch 1 the goal is the one of latency."""
    x = torch.randn(batch, 3, side, side)
    results = []
    for arch in archs:
        model = MogaNet(arch).eval()
        goal = LATENCY_GOAL if batch == 1 else FUSED_GOALS[arch]
        name = f'inference, {arch} fused, {side}x{side} batch {batch}'
        ours, reference = inference(fuse(model), x), inference(model, x, 'reference')
        results.append(compare_calls(name, ours, REFERENCE, reference, goal, rounds))
    return results


def small_inference(side: int, batch: int, rounds: int) -> list[Result | Rate]:
    """Compare every variant of MogaNet-S with the reference mode, and all networks with the roofline of the CPU."""
    torch.manual_seed(0)
    x = torch.randn(batch, 3, side, side)
    x_channels_last = x.contiguous(memory_format=torch.channels_last)
    model = MogaNet('small').eval()
    fused = fuse(model)
    calls: dict[str, Call] = dict(reference=inference(model, x, 'reference'), fused=inference(fused, x))
    calls['compiled'] = inference(compiled(fuse(model), frozen=True), x)
    goals = dict(fused=FUSED_GOALS['small'], compiled=COMPILED_GOAL, bfloat16=BFLOAT16_GOAL)
    if has_cpu_bfloat16():
        calls['bfloat16'] = inference(fuse(model).to(torch.bfloat16), x.bfloat16())
    for baseline in MACHINE_BASELINES:
        calls[baseline.name] = inference(build(baseline, side), x_channels_last)
    times = time_interleaved(calls | roofline_calls('cpu', torch.float32), rounds)

    title = f'inference, small fused{{}}, {side}x{side} batch {batch}'
    suffixes = dict(fused='', compiled=' + torch.compile', bfloat16=' in bfloat16')
    results = [
        compare_times(title.format(suffix), times[variant], REFERENCE, times['reference'], goals[variant])
        for variant, suffix in suffixes.items()
        if variant in times
    ]
    return [*results, *_rates(times, MACHINE_BASELINES, side, batch)]


def _rates(times: dict[str, list[float]], baselines: Iterable[Baseline], side: int, batch: int) -> list[Rate]:
    """Return throughput in float32 and the lower bounds of the roofline."""
    roofline = roofline_from_times(times, 'cpu')
    shape = (batch, 3, side, side)
    work = count_work(functools.partial(MogaNet, 'small'), shape)
    names = dict(reference=REFERENCE, fused='fused', compiled='fused + torch.compile')
    rates = [
        rate_from_times(f'MogaNet-{OURS["small"]}, {name}', times[variant], batch, work, roofline, torch.float32)
        for variant, name in names.items()
    ]
    for baseline in baselines:
        work = count_work(functools.partial(build, baseline, side), shape)
        name = f'{baseline.name}, timm'
        rates.append(rate_from_times(name, times[baseline.name], batch, work, roofline, torch.float32))
    return rates


def optimised_mode(arch: str, side: int, batch: int, rounds: int) -> list[Result]:
    """Compare the optimised kernels with the reference mode: a training step and inference, not fused, in float32.

    On both sides AdamW updates all parameters at once: its default takes as long as a tenth of the optimised step.
    """
    torch.manual_seed(0)
    x = torch.randn(batch, 3, side, side)
    title = f'{arch} {side}x{side} batch {batch}'
    steps, inferences = {}, {}
    for mode in ('auto', 'reference'):
        model = MogaNet(arch).train()
        steps[mode] = training_step(model, x, mode, torch.optim.AdamW(model.parameters(), fused=True))
        inferences[mode] = inference(MogaNet(arch).eval(), x, mode)
    step = compare_calls(f'training step, {title}', steps['auto'], REFERENCE, steps['reference'], TRAINING_GOAL, rounds)
    name = f'inference, not fused, {title}'
    return [step, compare_calls(name, inferences['auto'], REFERENCE, inferences['reference'], 1.0, rounds)]


def reference_mode(arch: str = 'xtiny', side: int = 64, batch: int = 16, rounds: int = 15) -> list[Result]:
    """Compare the reference mode with the plain network: inference and a training step, float32, NCHW."""
    torch.manual_seed(0)
    ours, plain = MogaNet(arch), PlainMogaNet(arch)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(batch, 3, side, side)
    title = f'{REFERENCE}, {arch} {side}x{side} batch {batch}'
    steps = [training_step(model.train(), x, 'reference') for model in (ours, plain)]
    train = compare_calls(f'training step, {title}', steps[0], PLAIN, steps[1], PLAIN_GOAL, rounds)
    inferences = [inference(model.eval(), x, 'reference') for model in (ours, plain)]
    return [train, compare_calls(f'inference, {title}', inferences[0], PLAIN, inferences[1], PLAIN_GOAL, rounds)]


def import_time(rounds: int = 5, goal_s: float = 0.3) -> Result:
    """Measure the time that ``import moganet`` adds to ``import torch, mmengine``, in fresh interpreters."""
    script = 'import time, torch, mmengine; a = time.perf_counter(); import moganet; print(time.perf_counter() - a)'
    added = [float(_python(script)) for _ in range(rounds)]
    base = 'import time; a = time.perf_counter(); import torch, mmengine; print(time.perf_counter() - a)'
    before = [float(_python(base)) for _ in range(rounds)]
    ours, theirs = 1e3 * statistics.median(added), 1e3 * statistics.median(before)
    # Here the ratio is the share that the import adds. The other results compare two times of the same work.
    return Result('import moganet, added', 'import torch, mmengine', ours, theirs, ours / theirs, 1e3 * goal_s / theirs)


def _python(script: str) -> str:
    return subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True).stdout
