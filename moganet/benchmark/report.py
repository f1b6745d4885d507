"""Runs the sections of a benchmark one after the other, prints their findings and writes them to a json file."""

import json
import platform
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from ..errors import one_line
from ..ops.cpp import library
from .compare import Point
from .growth import Growth


class Finding(Protocol):
    """A row of a section: a ``Result``, a ``Rate``, a ``Point``, a ``Growth``, or a row of a task's own benchmark."""

    @property
    def missed(self) -> bool:
        """True if the row has a goal and misses it."""

    def line(self) -> str:
        """Return the row of the printed table."""

    def as_dict(self) -> dict[str, object]:
        """Return the entry of the json file."""


@dataclass(frozen=True)
class Failure:
    """A section that ended in an error, which counts as a missed goal.

    Attributes:
        section: Title of the section.
        error: The error in one line.
    """

    section: str
    error: str
    missed = True

    def line(self) -> str:
        """Return the row of the printed table."""
        return f'{self.section}: FAILED, {self.error}'

    def as_dict(self) -> dict[str, object]:
        """Return the entry of the json file."""
        return dict(kind='failure', error=self.error)


def machine(device: str) -> dict[str, object]:
    """Describe the machine and the software: library versions, device, threads, kernels."""
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


def run(sections: Mapping[str, Callable[[], Iterable[Finding]]], device: str, out: Path) -> list[Finding]:
    """Measure every section; print each finding at once, and write all findings to ``out`` after each section.

    Args:
        sections: Title and measuring call of each section. An error ends its section only and becomes a ``Failure``.
        device: 'cpu' or 'cuda'.
        out: The json file.

    Returns:
        The findings of all sections.
    """
    description = machine(device)
    print(', '.join(f'{key} {value}' for key, value in description.items()), flush=True)
    start = time.monotonic()
    findings: list[Finding] = []
    rows: list[dict[str, object]] = []
    for title, measure in sections.items():
        section_start = time.monotonic()
        for finding in _measured(title, measure):
            print(finding.line(), flush=True)
            findings.append(finding)
            rows.append(dict(section=title, **finding.as_dict()))
        print(f'-- {title}: {time.monotonic() - section_start:.0f} s', flush=True)
        write(dict(machine=description, seconds=round(time.monotonic() - start, 1), findings=rows), out)
    print(f'{time.monotonic() - start:.0f} s, {out}')
    return findings


def _measured(title: str, measure: Callable[[], Iterable[Finding]]) -> Iterator[Finding]:
    """Yield the findings of a section, at an error a ``Failure`` as the last one."""
    try:
        yield from measure()
    except Exception as error:  # a missing compiler must not cost the measurements of the other sections
        traceback.print_exc()
        yield Failure(title, one_line(error))


def write(content: dict[str, object], path: Path) -> None:
    """Write a json file, making its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content, indent=2) + '\n')


def draw(findings: Sequence[Finding], title: str, path: Path) -> Path | None:
    """Draw the figure of throughput or of growth, whichever the findings hold.

    Returns:
        The path of the figure, or None if the findings hold neither.
    """
    from . import plot  # matplotlib takes a second

    points = [finding for finding in findings if isinstance(finding, Point)]
    if points:
        return plot.draw_points(points, title, path)
    growth = [finding for finding in findings if isinstance(finding, Growth)]
    return plot.draw_growth(growth, title, path) if growth else None
