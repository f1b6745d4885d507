"""A diagram of the network: stem, stages with the table of sizes, and the two branches of a block."""

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from ..arch import ARCHS, CHANNEL_SPLIT, NUM_STAGES
from ..io.figures import new_figure, save_figure

WIDTH, HEIGHT, DPI = 9.0, 4.65, 200  # inches and pixels per inch; coordinates below are inches
INK, MUTED = '#222222', '#6b6b6b'
PLAIN, SPATIAL, CHANNEL, NORM, STEM = '#ffffff', '#dbe7f5', '#fbe3cf', '#e9e9e9', '#dff0e0'
NAMES = {'xtiny': 'XT', 'tiny': 'T', 'small': 'S', 'base': 'B', 'large': 'L', 'xlarge': 'XL'}
TEXT_SIZE, TITLE_SIZE = 8.2, 10.0  # points
LINE, RADIUS = 0.8, 0.1  # of lines in points, of circles in inches


class Box(NamedTuple):
    """A box that was drawn: its left and right edge and the height of its middle."""

    left: float
    right: float
    middle: float


def draw_network(path: str | Path) -> Path:
    """Write the diagram as a picture and return its path."""
    figure = new_figure(WIDTH, HEIGHT, dpi=DPI, constrained=False)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(0, HEIGHT)
    axes.set_axis_off()
    _draw_stages(axes, 3.98)
    _draw_spatial_branch(axes, 1.53)
    _draw_channel_branch(axes, 0.22)
    return save_figure(figure, path)


def _draw_stages(axes: Axes, middle: float) -> None:
    """Draw image, stem and stages in a row, and the table of sizes below them."""
    _title(axes, middle + 0.5, 'MogaNet', 'four stages; each returns its map after a norm')
    _text(axes, 0.36, middle, 'image\nH × W')
    stem = _box(axes, 0.86, middle, 1.06, 'stem: two 3×3\nof stride 2', STEM, height=0.44)
    _arrow(axes, 0.64, stem.left, middle)
    edge, columns = stem.right, []
    for stage in range(NUM_STAGES):
        if stage:
            embed = _box(axes, edge + 0.17, middle, 0.6, '3×3\nstride 2', STEM, height=0.44)
            _arrow(axes, edge, embed.left, middle)
            edge = embed.right
        side = 2 ** (stage + 2)
        box = _box(axes, edge + 0.17, middle, 0.98, f'stage {stage + 1}\nH/{side} × W/{side}', SPATIAL, height=0.44)
        _arrow(axes, edge, box.left, middle)
        columns.append((box.left + box.right) / 2)
        edge = box.right
    _arrow(axes, edge, edge + 0.17, middle)
    for row, (arch, sizes) in enumerate(ARCHS.items()):
        height = middle - 0.37 - 0.16 * row
        _text(axes, 0.36, height, NAMES[arch], weight='bold')
        for column, channels, depth in zip(columns, sizes['embed_dims'], sizes['depths'], strict=True):
            _text(axes, column, height, f'{channels} × {depth}')
    _text(axes, (stem.left + stem.right) / 2, middle - 0.77, 'channels × blocks', color=MUTED)


def _draw_spatial_branch(axes: Axes, middle: float) -> None:
    """Draw a block's first branch: norm, multi-order gated aggregation, layer scale and the residual sum."""
    _title(
        axes,
        middle + 0.95,
        'Block: spatial branch',
        'multi-order gated aggregation, Eq. 6 to 8; γ and λ are learnt per channel',
    )
    upper, lower = middle + 0.4, middle - 0.25
    _text(axes, 0.14, middle, 'x')
    norm = _box(axes, 0.44, middle, 0.44, 'norm', NORM)
    first = _box(axes, 1.12, middle, 0.38, '1×1', SPATIAL)
    decompose = _box(axes, 1.66, middle, 1.24, 'y + γ (y − mean y)\nSiLU', SPATIAL, height=0.42)
    fork = decompose.right + 0.14
    gate = _box(axes, 4.12, upper, 1.6, '1×1, SiLU', SPATIAL)
    low = _box(axes, 3.2, lower, 0.66, 'DW 5×5', SPATIAL)
    lanes = _draw_orders(axes, low, lower)
    mix = _box(axes, 5.98, lower, 0.74, '1×1, SiLU', SPATIAL)
    for lane in lanes:
        _bend(axes, lane, mix, mix.left - 0.14)
    times = _circle(axes, 6.88, middle, '⊙')
    last = _box(axes, 7.14, middle, 0.38, '1×1', SPATIAL)
    inner = _circle(axes, 7.78, middle, '+')
    scale = _box(axes, 8.02, middle, 0.34, '× λ', NORM)
    outer = _circle(axes, 8.62, middle, '+')
    for branch in (gate, low):
        _bend(axes, decompose, branch, fork)
    for branch, side in ((gate, 1), (mix, -1)):
        center = times.left + RADIUS
        axes.plot([branch.right, center], [branch.middle] * 2, color=INK, lw=LINE)
        _arrow_between(axes, (center, branch.middle), (center, middle + side * RADIUS))
    _chain(axes, [norm, first, decompose])
    _chain(axes, [times, last, inner, scale, outer])
    _draw_ends(axes, norm, outer)
    _draw_shortcut(axes, 1.0, 7.78, middle, middle + 0.66)
    _draw_shortcut(axes, 0.3, 8.62, middle, middle + 0.78)
    _text(axes, (fork + gate.left) / 2, upper + 0.08, 'gate', color=MUTED)
    _text(axes, (low.left + low.right) / 2, lower - 0.24, 'value', color=MUTED)


def _draw_orders(axes: Axes, low: Box, middle: float) -> list[Box]:
    """Draw the three groups of channels that leave the first depthwise convolution."""
    orders = [('kept as is', PLAIN), ('DW 5×5, dilation 2', SPATIAL), ('DW 7×7, dilation 3', SPATIAL)]
    lanes = []
    for row, (share, (order, color)) in enumerate(zip(CHANNEL_SPLIT, orders, strict=True)):
        text = f'{share}/{sum(CHANNEL_SPLIT)} C: {order}'
        lanes.append(_box(axes, 4.12, middle + 0.27 * (1 - row), 1.6, text, color, height=0.23))
        _bend(axes, low, lanes[-1], low.right + 0.14)
    return lanes


def _draw_channel_branch(axes: Axes, middle: float) -> None:
    """Draw a block's second branch: norm, channel aggregation, layer scale and the residual sum."""
    title = 'feed-forward network with channel aggregation, Eq. 9 and 10'
    _title(axes, middle + 0.47, 'Block: channel branch', title)
    _text(axes, 0.14, middle, 'x')
    norm = _box(axes, 0.44, middle, 0.44, 'norm', NORM)
    outer = _circle(axes, 8.62, middle, '+')
    _chain(
        axes,
        [
            norm,
            _box(axes, 1.12, middle, 0.92, '1×1, C to rC', CHANNEL),
            _box(axes, 2.28, middle, 1.06, 'DW 3×3, GELU', CHANNEL),
            _box(axes, 3.58, middle, 2.62, 'h + γ (h − GELU(1×1 of h to one channel))', CHANNEL),
            _box(axes, 6.44, middle, 0.92, '1×1, rC to C', CHANNEL),
            _box(axes, 8.02, middle, 0.34, '× λ', NORM),
            outer,
        ],
    )
    _draw_ends(axes, norm, outer)
    _draw_shortcut(axes, 0.3, 8.62, middle, middle + 0.29)


def _title(axes: Axes, height: float, title: str, explanation: str) -> None:
    written = axes.text(0.1, height, title, fontsize=TITLE_SIZE, weight='bold', color=INK, va='center')
    right = written.get_window_extent().x1 / DPI
    axes.text(right + 0.12, height, explanation, fontsize=TEXT_SIZE, color=MUTED, va='center')


def _box(axes: Axes, left: float, middle: float, width: float, text: str, color: str, height: float = 0.28) -> Box:
    _rounded(axes, left, middle, width, height, 0.05, color)
    _text(axes, left + width / 2, middle, text)
    return Box(left, left + width, middle)


def _circle(axes: Axes, center: float, middle: float, text: str) -> Box:
    _rounded(axes, center - RADIUS, middle, 2 * RADIUS, 2 * RADIUS, RADIUS, PLAIN)
    _text(axes, center, middle, text, size=TITLE_SIZE)
    return Box(center - RADIUS, center + RADIUS, middle)


def _rounded(axes: Axes, left: float, middle: float, width: float, height: float, radius: float, color: str) -> None:
    style = f'round,pad=0,rounding_size={radius}'
    axes.add_patch(FancyBboxPatch((left, middle - height / 2), width, height, style, fc=color, ec=INK, lw=LINE))


def _text(
    axes: Axes, x: float, y: float, text: str, size: float = TEXT_SIZE, color: str = INK, weight: str = 'normal'
) -> None:
    axes.text(x, y, text, fontsize=size, color=color, weight=weight, ha='center', va='center', linespacing=1.15)


def _chain(axes: Axes, boxes: Sequence[Box]) -> None:
    """Join neighbours with arrows."""
    for box, following in itertools.pairwise(boxes):
        _arrow(axes, box.right, following.left, box.middle)


def _draw_ends(axes: Axes, first: Box, last: Box) -> None:
    """Draw the arrows into and out of a branch."""
    _arrow(axes, 0.2, first.left, first.middle)
    _arrow(axes, last.right, WIDTH - 0.05, last.middle)


def _bend(axes: Axes, start: Box, end: Box, turn: float) -> None:
    """Draw an arrow that changes its height at ``turn``."""
    axes.plot([start.right, turn, turn], [start.middle, start.middle, end.middle], color=INK, lw=LINE)
    _arrow(axes, turn, end.left, end.middle)


def _draw_shortcut(axes: Axes, start: float, end: float, middle: float, top: float) -> None:
    axes.plot([start, start, end], [middle, top, top], color=MUTED, lw=LINE)
    _arrow_between(axes, (end, top), (end, middle + RADIUS), MUTED)


def _arrow(axes: Axes, start: float, end: float, middle: float) -> None:
    _arrow_between(axes, (start, middle), (end, middle))


def _arrow_between(axes: Axes, start: tuple[float, float], end: tuple[float, float], color: str = INK) -> None:
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle='-|>', mutation_scale=7, shrinkA=0, shrinkB=0, color=color, lw=LINE)
    )
