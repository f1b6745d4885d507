"""Runs the parts of a benchmark one after the other and keeps what each found, also if a later one fails."""

import json
import platform
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from ..errors import one_line
from ..ops.cpp import library
from .compare import Point
from .growth import Growth


class Finding(Protocol):
    """What a part yields: a ``Result``, a ``Rate``, a ``Point``, or what a task adds."""

    missed: bool

    def line(self) -> str: ...

    def as_dict(self) -> dict: ...


@dataclass(frozen=True)
class Failure:
    """A part that ended in an error, which misses its goals."""

    part: str
    error: str
    missed = True

    def line(self) -> str:
        return f'{self.part}: FAILED, {self.error}'

    def as_dict(self) -> dict:
        return dict(kind='failure', error=self.error)


def machine(device: str) -> dict[str, object]:
    """What the numbers depend on."""
    if device == 'cuda':
        return dict(torch=torch.__version__, device=torch.cuda.get_device_name(), cuda=torch.version.cuda)
    return dict(
        torch=torch.__version__,
        device=f'CPU, {platform.machine()}, {_cpu_name()}',
        instructions=torch.backends.cpu.get_cpu_capability(),
        threads=torch.get_num_threads(),
        kernels='compiled' if library.load() else 'not compiled',
    )


def _cpu_name() -> str:
    lines = Path('/proc/cpuinfo').read_text().splitlines() if Path('/proc/cpuinfo').exists() else []
    return next((line.partition(':')[2].strip() for line in lines if line.startswith('model name')), 'unknown')


def run(parts: dict[str, Callable[[], Iterable[Finding]]], device: str, out: Path) -> list[Finding]:
    """Measure, print as it comes, and write ``out`` after each part."""
    about = machine(device)
    print(', '.join(f'{key} {value}' for key, value in about.items()), flush=True)
    start, findings, rows = time.monotonic(), [], []
    for title, measure in parts.items():
        found, began = [], time.monotonic()
        try:
            for finding in measure():
                found.append(finding)
                print(finding.line(), flush=True)
        except Exception as error:  # hours of a lent machine are not lost because one compiler is missing
            traceback.print_exc()
            found.append(Failure(title, one_line(error)))
            print(found[-1].line(), flush=True)
        findings += found
        print(f'-- {title}: {time.monotonic() - began:.0f} s', flush=True)
        rows += [dict(part=title, **finding.as_dict()) for finding in found]
        write(dict(machine=about, seconds=round(time.monotonic() - start, 1), findings=rows), out)
    print(f'{time.monotonic() - start:.0f} s, {out}')
    return findings


def write(content: dict, path: Path) -> None:
    """As json."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + '\n')


def draw(findings: Sequence[Finding], title: str, path: Path) -> Path | None:
    """The picture of points or of growth, whichever there are; None if there are neither."""
    from . import plot  # matplotlib takes a second

    for kind, drawing in ((Point, plot.draw_points), (Growth, plot.draw_growth)):
        members = [finding for finding in findings if isinstance(finding, kind)]
        if members:
            return drawing(members, title, path)
    return None
