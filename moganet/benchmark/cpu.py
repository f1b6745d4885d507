"""What a CPU shows: the import, inference and training beside the reference path and timm's networks, memory."""

import functools
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterable

import torch

from ..backbone import MogaNet
from ..fusion import fuse
from . import memory
from .baselines import OURS, RIVALS, build
from .interleave import Result, compare, result, take_turns
from .plain_network import PlainMogaNet
from .roofline import Rate, ceilings_of, copy, count, product, rate
from .workloads import compiled, inference, training_step

SIDE, BATCH, MEMORY_BATCH = 224, 4, 16
REFERENCE, TRANSCRIPTION = 'reference path', 'transcription in plain layers'
# Upper bounds of ours over the reference path's, at SIDE and BATCH.
FUSED_GOALS = {'small': 1 / 2.2, 'xtiny': 1 / 1.9, 'tiny': 1 / 1.9, 'base': 1 / 1.9}
COMPILED_GOAL, BFLOAT16_GOAL, LATENCY_GOAL, TRAINING_GOAL = 1 / 2.5, 1 / 3.5, 1 / 1.9, 1 / 2.0


def parts(rounds: int) -> dict[str, Callable[[], Iterable[Result | Rate]]]:
    """Title and what measures it."""
    few = max(1, rounds // 3)
    return {
        'import': lambda: [import_time()],
        'reference path': lambda: reference_path(rounds=rounds),
        'inference, small': lambda: small_inference(SIDE, BATCH, rounds),
        'inference, other sizes': lambda: fused_inference(('xtiny', 'tiny', 'base'), SIDE, BATCH, rounds),
        'latency': lambda: fused_inference(('small',), SIDE, 1, rounds),
        'training, xtiny': lambda: faster_path('xtiny', 64, 64, rounds),
        'training, small': lambda: faster_path('small', SIDE, BATCH, few),
        'memory': lambda: [*memory.kept('small', SIDE, BATCH), *memory.peaks('small', SIDE, MEMORY_BATCH)],
    }


def has_bfloat16() -> bool:
    """Whether this CPU multiplies in bfloat16."""
    return torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()


def fused_inference(archs: Iterable[str], side: int, batch: int, rounds: int) -> list[Result]:
    """Fused networks beside the reference path, float32, eager. At batch 1 the goal is that of latency."""
    x = torch.randn(batch, 3, side, side)
    results = []
    for arch in archs:
        model = MogaNet(arch).eval()
        goal = LATENCY_GOAL if batch == 1 else FUSED_GOALS[arch]
        name = f'inference, {arch} fused, {side}x{side} batch {batch}'
        results.append(
            compare(name, inference(fuse(model), x), REFERENCE, inference(model, x, 'reference'), goal, rounds)
        )
    return results


def small_inference(side: int, batch: int, rounds: int) -> list[Result | Rate]:
    """Every way to run MogaNet-S beside the reference path, and timm's networks beside the machine's ceiling."""
    torch.manual_seed(0)
    x = torch.randn(batch, 3, side, side)
    last = x.contiguous(memory_format=torch.channels_last)
    model = MogaNet('small').eval()
    fused = fuse(model)
    calls = dict(reference=inference(model, x, 'reference'), fused=inference(fused, x))
    calls['compiled'] = inference(compiled(fuse(model), frozen=True), x)
    goals = dict(fused=FUSED_GOALS['small'], compiled=COMPILED_GOAL, bfloat16=BFLOAT16_GOAL)
    if has_bfloat16():
        calls['bfloat16'] = inference(fuse(model).to(torch.bfloat16), x.bfloat16())
    rivals = {rival.name: rival for rival in RIVALS[:3]}
    for rival in rivals.values():
        calls[rival.name] = inference(build(rival, side).to(memory_format=torch.channels_last), last)
    calls |= dict(product=product('cpu', torch.float32), copy=copy('cpu'))
    times = take_turns(calls, rounds)

    title = f'inference, small fused{{}}, {side}x{side} batch {batch}'
    words = dict(fused='', compiled=' + torch.compile', bfloat16=' in bfloat16')
    results = [
        result(title.format(words[way]), times[way], REFERENCE, times['reference'], goals[way])
        for way in words
        if way in times
    ]
    return results + _rates(times, rivals, side, batch)


def _rates(times: dict[str, list[float]], rivals: dict, side: int, batch: int) -> list[Rate]:
    """Images per second of float32, and the share of what the machine's matrix product would allow."""
    limits = ceilings_of(times, 'cpu')
    shape = (batch, 3, side, side)
    ours = count(functools.partial(MogaNet, 'small'), shape)
    names = dict(reference='reference path', fused='fused', compiled='fused + torch.compile')
    rates = [
        rate(f'MogaNet-{OURS["small"]}, {names[way]}', times[way], batch, ours, limits, torch.float32) for way in names
    ]
    for name, rival in rivals.items():
        work = count(functools.partial(build, rival, side), shape)
        rates.append(rate(f'{name}, timm', times[name], batch, work, limits, torch.float32))
    return rates


def faster_path(arch: str, side: int, batch: int, rounds: int) -> list[Result]:
    """The faster path beside the reference path: a whole training step and inference, float32.

    AdamW updates all parameters in one pass, on both sides: PyTorch's default takes as long as a tenth of our step.
    """
    torch.manual_seed(0)
    x = torch.randn(batch, 3, side, side)
    title = f'{arch} {side}x{side} batch {batch}'
    steps, runs = {}, {}
    for path in ('auto', 'reference'):
        model = MogaNet(arch).train()
        steps[path] = training_step(model, x, path, torch.optim.AdamW(model.parameters(), fused=True))
        runs[path] = inference(MogaNet(arch).eval(), x, path)
    return [
        compare(f'training step, {title}', steps['auto'], REFERENCE, steps['reference'], TRAINING_GOAL, rounds),
        compare(f'inference, not fused, {title}', runs['auto'], REFERENCE, runs['reference'], 1.0, rounds),
    ]


def reference_path(arch: str = 'xtiny', side: int = 64, batch: int = 16, rounds: int = 15) -> list[Result]:
    """Our reference path beside the transcription in plain layers: inference and a training step, float32, NCHW."""
    torch.manual_seed(0)
    ours, plain = MogaNet(arch), PlainMogaNet(arch)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(batch, 3, side, side)
    title = f'reference path, {arch} {side}x{side} batch {batch}'
    train = compare(
        f'training step, {title}',
        training_step(ours.train(), x, 'reference'),
        TRANSCRIPTION,
        training_step(plain.train(), x, 'reference'),
        1.05,
        rounds,
    )
    infer = compare(
        f'inference, {title}',
        inference(ours.eval(), x, 'reference'),
        TRANSCRIPTION,
        inference(plain.eval(), x, 'reference'),
        1.05,
        rounds,
    )
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
