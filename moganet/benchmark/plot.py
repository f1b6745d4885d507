"""Figures of the benchmark: throughput against accuracy, and growth with the pixels."""

from collections.abc import Sequence
from itertools import groupby
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter, StrMethodFormatter
from matplotlib.transforms import Bbox, BboxBase

from ..io.figures import new_figure, save_figure
from .compare import Point
from .growth import Growth

DPI = 120
OURS, THEIRS = '#c0392b', '#5b6b7b'


def draw_points(points: Sequence[Point], title: str, path: str | Path) -> Path:
    """Plot top-1 accuracy (published) over images per second (measured), as in Figure A3 of the paper.

    Args:
        points: Networks; those of one family, such as MogaNet-T and MogaNet-S, are joined by a line.
        title: Title of the figure.
        path: The file to write.

    Returns:
        The path of the file.
    """
    figure = new_figure(8, 5.5, DPI, constrained=False)
    figure.subplots_adjust(left=0.09, right=0.97, bottom=0.1, top=0.93)
    axes = figure.add_subplot()
    for members in _families(points):
        (line,) = axes.plot([p.images_per_s for p in members], [p.published_top1 for p in members])
        if members[0].ours:
            line.set(color=OURS, marker='o', markersize=8, linewidth=2, zorder=3)
        else:
            line.set(color=THEIRS, marker='s', markersize=6, linewidth=1, zorder=2)
    axes.set(xscale='log', xlabel='images per second, measured', ylabel='top-1 on ImageNet-1K in %, published')
    axes.set_title(title)
    axes.xaxis.set_major_formatter(StrMethodFormatter('{x:g}'))
    axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
    axes.grid(True, which='both', color='#e6e6e6', linewidth=0.6)
    axes.margins(x=0.16, y=0.08)
    label_points(figure, axes, points)
    return save_figure(figure, path)


def label_points(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Write each name beside its point, at a corner where it covers no other name and no point; MogaNet goes first."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    positions = [axes.transData.transform((p.images_per_s, p.published_top1)) for p in points]
    occupied: list[BboxBase] = [Bbox.from_bounds(x - 6, y - 6, 12, 12) for x, y in positions]
    for point in sorted(points, key=lambda p: not p.ours):
        for dx, dy in ((6, 5), (-6, 5), (6, -13), (-6, -13)):
            text = axes.annotate(
                point.name,
                (point.images_per_s, point.published_top1),
                (dx, dy),
                fontsize=9,
                textcoords='offset points',
                ha='left' if dx > 0 else 'right',
                color=OURS if point.ours else THEIRS,
            )
            box = text.get_window_extent(canvas.get_renderer())
            if not any(box.overlaps(other) for other in occupied):
                break
            if dy != -13 or dx > 0:
                text.remove()
        occupied.append(box)


def _families(points: Sequence[Point]) -> list[list[Point]]:
    """Group points by the part of their names before the last hyphen; each group is sorted by accuracy."""
    ordered = sorted(points, key=lambda p: (_family(p), p.published_top1))
    return [list(members) for _, members in groupby(ordered, _family)]


def _family(point: Point) -> str:
    return point.name.rpartition('-')[0]


def draw_growth(points: Sequence[Growth], title: str, path: str | Path) -> Path:
    """Plot time and memory over the pixels of a batch, with logarithmic axes.

    A dotted line beside each series grows in proportion to the pixels.

    Args:
        points: The points of all series; those of one series follow each other.
        title: Title of the figure.
        path: The file to write.

    Returns:
        The path of the file.
    """
    figure = new_figure(10, 4.8, DPI)
    for axes, key, label in zip(figure.subplots(1, 2), ('ms', 'mib'), ('milliseconds', 'MiB at the peak'), strict=True):
        for series, group in groupby(points, lambda p: p.series):
            members = sorted(group, key=lambda p: p.pixels)
            pixels = [p.pixels / 1e6 for p in members]
            values = [getattr(p, key) for p in members]
            (line,) = axes.plot(pixels, values, 'o-', label=series, markersize=4)
            # The dotted line goes through the median per pixel, to which the table's ratios refer.
            ratio = members[0].time_ratio if key == 'ms' else members[0].memory_ratio
            slope = values[0] / pixels[0] / ratio
            axes.plot(pixels, [slope * x for x in pixels], ':', color=line.get_color(), alpha=0.6, linewidth=1)
        axes.set(xscale='log', yscale='log', xlabel='megapixels in the batch', ylabel=label)
        axes.grid(True, which='both', color='#e6e6e6', linewidth=0.6)
        axes.legend(fontsize=8)
    figure.suptitle(f'{title}; dotted: in proportion to the pixels', fontsize=11)
    return save_figure(figure, path)
