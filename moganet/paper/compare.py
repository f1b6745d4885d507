"""The published tables beside what the code and the runs measure: comparison, report, and the tables of the READMEs."""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..run.config import load_config
from ..run.tasks import find_task
from .complexity import Complexity
from .metafile import COUNTS, UNITS, Misprint, Printed, Row, rows
from .results import measured

BLOCK = re.compile(
    r'(?P<start><!-- table:(?P<task>\w+)(?: (?P<source>[^\n]+?))??(?P<short> short)? -->\n).*?(?P<end><!-- /table -->)',
    re.DOTALL,
)
SAME, MISPRINT, MISMATCH, NOT_MEASURED = 'same', 'misprint', 'MISMATCH', 'not measured'


@dataclass(frozen=True)
class Comparison:
    """A printed number beside our own, with the verdict and what the metafile says of misprints of it."""

    row: Row
    field: str
    paper: Printed
    own: float | None
    verdict: str
    misprints: tuple[Misprint, ...]


def compare_task(
    task: str, root: Path, results: Path | None = None, source: str | None = None
) -> list[list[Comparison]]:
    """Compare the rows of a task with the counts of their configs and the metrics of their runs.

    Args:
        task: A folder of ``configs/``.
        root: The folder that holds ``configs/``.
        results: A folder of work folders, one per config; None looks at counts only.
        source: Only the rows that have this table as a Source.

    Raises:
        ValueError: no row has that source.
    """
    chosen = [row for row in rows(task, root) if source is None or source in row.sources]
    if not chosen:
        raise ValueError(f'no row of {task} has the Source {source!r}')
    complexity = find_task(task).complexity
    compared, counts = [], {}
    for row in chosen:
        keys = {metric.key for metric in row.metrics.values()}
        metrics = measured(Path(results) / Path(row.config).stem, keys) if results else {}
        cfg = load_config(Path(root) / row.config)
        network = repr(cfg.model), row.shape  # that several rows may train
        if network not in counts:
            counts[network] = complexity.count(cfg, row.shape)
        compared.append(compare(row, counts[network], metrics))
    return compared


def compare(row: Row, complexity: Complexity, results: dict[str, float]) -> list[Comparison]:
    """Compare a row with the counts of its config and with a run's metrics, if there are any.

    A count must round to the printed digits, a metric must lie within the metafile's tolerance. A number that does not
    is explained only by a misprint of the metafile whose right value agrees; a misprint that is none is a mismatch too.
    """
    own = {'Parameters': complexity.parameters, 'FLOPs': complexity.macs}
    for name, metric in row.metrics.items():
        if metric.key in results:
            own[name] = results[metric.key] * metric.scale
    return [_compare(row, field, paper, own.get(field)) for field, paper in row.numbers.items()]


def _compare(row: Row, field: str, paper: Printed, own: float | None) -> Comparison:
    misprints = tuple(m for m in row.misprints if m.field == field)
    marked = any(m.printed == paper for m in misprints)

    def agrees(printed: Printed) -> bool:
        if field in COUNTS:
            return printed.matches(own)
        return abs(own - printed.value) <= row.metrics[field].tolerance + 1e-9

    if own is None:
        verdict = NOT_MEASURED
    # Misprints of other tables are held to the same. Metrics vary, so a run may agree with a misprinted one.
    elif not all(agrees(m.right) and (field not in COUNTS or not agrees(m.printed)) for m in misprints):
        verdict = MISMATCH
    elif marked:
        verdict = MISPRINT
    else:
        verdict = SAME if agrees(paper) else MISMATCH
    return Comparison(row, field, paper, own, verdict, misprints)


def report(task: str, comparisons: Sequence[Sequence[Comparison]]) -> str:
    """A text table of one task: paper and own in separate columns, footnotes, and a line per mismatch."""
    fields = _fields(comparisons)
    lines = [['', 'input', *(name for field in fields for name in (field, ''))]]
    lines.append(['', '', *(['paper', 'own'] * len(fields))])
    notes = _notes(comparisons)
    for row in comparisons:
        by_field = {c.field: c for c in row}
        cells = [row[0].row.name, _size(row[0].row.shape)]
        for field in fields:
            c = by_field.get(field)
            cells += ['', ''] if c is None else [c.paper.text, _own(c) + _mark(c, notes)]
        lines.append(cells)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [f'{task}: FLOPs are multiply-adds']
    text += ['  '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text += [f'({number}) {_explain(misprint)}' for misprint, number in notes.items()]
    for c in (c for row in comparisons for c in row if c.verdict == MISMATCH):
        why = '; the misprint that the metafile marks does not explain it' if c.misprints else ''
        text.append(f'{MISMATCH} {c.row.name}: {c.field} is {c.paper.text} in {c.row.sources[0]}, {_own(c)} here{why}')
    return '\n'.join(text)


def markdown(comparisons: Sequence[Sequence[Comparison]], folder: Path, root: Path) -> str:
    """The table of a README: numbers of the paper, counts of the code beside them, footnotes for misprints.

    Args:
        comparisons: One entry per row.
        folder: Where the README lies; links to configs are relative to it.
        root: The folder that the metafile's config paths start from.
    """
    fields = _fields(comparisons)
    header = ['Model', 'Input']
    for field in fields:
        header += [f'{field}, paper', f'{field}, counted'] if field in COUNTS else [f'{field}, paper']
    notes = _notes(comparisons)
    lines = [[*header, 'Source', 'Weights'], ['---', *([':---:'] * len(header)), '---']]
    for row in comparisons:
        entry = row[0].row
        cells = [_config_link(entry, folder, root), _size(entry.shape)]
        by_field = {c.field: c for c in row}
        for field in fields:
            c = by_field.get(field)
            note = ''.join(f' <sup>{notes[m]}</sup>' for m in c.misprints) if c else ''
            cells.append(f'{c.paper.text}{note}' if c else '-')
            if field in COUNTS:
                cells.append(_own(c))
        lines.append([*cells, ', '.join(entry.sources), _weights_link(entry)])
    text = ['| ' + ' | '.join(line) + ' |' for line in lines]
    if notes:
        text += ['', *(f'{number}. {_explain(misprint)}' for misprint, number in notes.items())]
    return '\n'.join(text)


def short_markdown(comparisons: Sequence[Sequence[Comparison]], folder: Path, root: Path) -> str:
    """Return a table of five columns: model, counted parameters and FLOPs, the first metric as published, weights.

    Args:
        comparisons: One entry per row; all rows have the same first metric.
        folder: Where the Markdown file lies; links to configs are relative to it.
        root: The folder that the metafile's config paths start from.
    """
    metric = next(field for field in _fields(comparisons) if field not in COUNTS)
    lines = [['Model', *COUNTS, metric, 'Weights'], ['---', ':---:', ':---:', ':---:', '---']]
    for row in comparisons:
        by_field = {c.field: c for c in row}
        entry = row[0].row
        counts = [_own(by_field[field]) for field in COUNTS]
        lines.append([_config_link(entry, folder, root), *counts, by_field[metric].paper.text, _weights_link(entry)])
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def refreshed(path: Path, root: Path) -> str:
    """The text of a Markdown file with its tables generated anew.

    A table stands between ``<!-- table:cls -->`` and ``<!-- /table -->``; ``<!-- table:cls README -->`` takes only
    the rows whose Source names README. ``short`` before ``-->`` asks for the table of five columns. Metrics of runs on
    this machine do not enter.

    Raises:
        ValueError: the file has no such table, or no row has the source asked for.
    """
    text = path.read_text()
    if not BLOCK.search(text):
        raise ValueError(f'{path} has no table: expected <!-- table:TASK --> and, below it, <!-- /table -->')

    def table(match: re.Match) -> str:
        comparisons = compare_task(match['task'], root, source=match['source'])
        write = short_markdown if match['short'] else markdown
        return f'{match["start"]}{write(comparisons, path.resolve().parent, root)}\n{match["end"]}'

    return BLOCK.sub(table, text)


def _fields(comparisons: Sequence[Sequence[Comparison]]) -> list[str]:
    return list(dict.fromkeys(c.field for row in comparisons for c in row))


def _config_link(row: Row, folder: Path, root: Path) -> str:
    return f'[{row.name}]({Path(os.path.relpath(Path(root) / row.config, folder)).as_posix()})'


def _weights_link(row: Row) -> str:
    return f'[{row.weights_name or "file"}]({row.weights})' if row.weights else 'not published'


def _notes(comparisons: Sequence[Sequence[Comparison]]) -> dict[Misprint, int]:
    """The misprints in the order they are met, each with the number of its footnote."""
    misprints = dict.fromkeys(m for row in comparisons for c in row for m in c.misprints)
    return {misprint: number for number, misprint in enumerate(misprints, start=1)}


def _explain(m: Misprint) -> str:
    return f'{m.field} {m.printed.text} ({m.source}) should be {m.right.text}: {m.reason}'


def _mark(c: Comparison, notes: dict[Misprint, int]) -> str:
    marks = [f'({notes[m]})' for m in c.misprints]
    marks += [MISMATCH] if c.verdict == MISMATCH else []
    return ''.join(f' {mark}' for mark in marks)


def _own(c: Comparison) -> str:
    if c.own is None:
        return '-'
    if c.field in COUNTS:
        return f'{c.own / UNITS[c.paper.unit]:.3f} {c.paper.unit}'
    return f'{c.own:.4g}'


def _size(shape: tuple[int, int]) -> str:
    return f'{shape[0]}x{shape[1]}'
