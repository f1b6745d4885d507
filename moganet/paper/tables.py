"""Tables of comparisons: a text report, and the Markdown tables of the READMEs."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from .compare import MISMATCH, Comparison, compare_task
from .metafile import COUNTS, UNITS, Misprint, Row

BLOCK = re.compile(
    r'(?P<start><!-- table:(?P<task>\w+)(?: (?P<source>[^\n]+?))??(?P<short> short)? -->\n).*?(?P<end><!-- /table -->)',
    re.DOTALL,
)
RowComparisons = Sequence[Sequence[Comparison]]  # the comparisons of each row


def report(task: str, comparisons: RowComparisons) -> str:
    """Return a text table of one task, with footnotes for misprints and a line for each mismatch.

    Args:
        task: A folder of ``configs/``.
        comparisons: The comparisons of each row. Paper and own numbers have columns of their own.
    """
    fields = _fields(comparisons)
    lines = [['', 'input', *(name for field in fields for name in (field, ''))]]
    lines.append(['', '', *(['paper', 'own'] * len(fields))])
    notes = _notes(comparisons)
    for row in comparisons:
        by_field = {c.field: c for c in row}
        cells = [row[0].row.name, _size(row[0].row.shape)]
        for field in fields:
            c = by_field.get(field)
            cells += ['', ''] if c is None else [c.paper.text, _measured(c) + _mark(c, notes)]
        lines.append(cells)
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = [f'{task}: FLOPs are multiply-adds']
    text += ['  '.join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text += [f'({number}) {_explain(misprint)}' for misprint, number in notes.items()]
    for c in (c for row in comparisons for c in row if c.verdict == MISMATCH):
        remark = '; the misprint that the metafile marks does not explain it' if c.misprints else ''
        text.append(
            f'{MISMATCH} {c.row.name}: {c.field} is {c.paper.text} in {c.row.sources[0]}, {_measured(c)} here{remark}'
        )
    return '\n'.join(text)


def markdown(comparisons: RowComparisons, folder: Path, root: Path) -> str:
    """Return the table of a README: numbers of the paper, counts of the code, footnotes for misprints.

    Args:
        comparisons: The comparisons of each row.
        folder: The folder of the README; links to configs are relative to it.
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
                cells.append(_measured(by_field[field]))
        lines.append([*cells, ', '.join(entry.sources), _weights_link(entry)])
    text = ['| ' + ' | '.join(line) + ' |' for line in lines]
    if notes:
        text += ['', *(f'{number}. {_explain(misprint)}' for misprint, number in notes.items())]
    return '\n'.join(text)


def short_markdown(comparisons: RowComparisons, folder: Path, root: Path) -> str:
    """Return a table of five columns: model, counted parameters and FLOPs, the first metric as published, weights.

    Args:
        comparisons: The comparisons of each row; all rows have the same first metric.
        folder: The folder of the Markdown file; links to configs are relative to it.
        root: The folder that the metafile's config paths start from.
    """
    metric = next(field for field in _fields(comparisons) if field not in COUNTS)
    lines = [['Model', *COUNTS, metric, 'Weights'], ['---', ':---:', ':---:', ':---:', '---']]
    for row in comparisons:
        by_field = {c.field: c for c in row}
        entry = row[0].row
        counts = [_measured(by_field[field]) for field in COUNTS]
        lines.append([_config_link(entry, folder, root), *counts, by_field[metric].paper.text, _weights_link(entry)])
    return '\n'.join('| ' + ' | '.join(line) + ' |' for line in lines)


def refreshed(path: Path, root: Path) -> str:
    """Return the text of a Markdown file with its tables generated anew, without metrics of runs.

    A table stands between ``<!-- table:cls -->`` and ``<!-- /table -->``. ``<!-- table:cls README -->`` selects the
    rows whose Source names README. ``short`` before ``-->`` selects the table of five columns.

    Args:
        path: The Markdown file.
        root: The folder that holds ``configs/``.

    Raises:
        ValueError: the file has no table, or no row has the source.
    """
    text = path.read_text()
    if not BLOCK.search(text):
        raise ValueError(f'{path} has no table: expected <!-- table:TASK --> and, below it, <!-- /table -->')

    def table(match: re.Match[str]) -> str:
        comparisons = compare_task(match['task'], root, source=match['source'])
        write = short_markdown if match['short'] else markdown
        return f'{match["start"]}{write(comparisons, path.resolve().parent, root)}\n{match["end"]}'

    return BLOCK.sub(table, text)


def _fields(comparisons: RowComparisons) -> list[str]:
    return list(dict.fromkeys(c.field for row in comparisons for c in row))


def _config_link(row: Row, folder: Path, root: Path) -> str:
    return f'[{row.name}]({Path(os.path.relpath(Path(root) / row.config, folder)).as_posix()})'


def _weights_link(row: Row) -> str:
    return f'[{row.weights_name or "file"}]({row.weights})' if row.weights else 'not published'


def _notes(comparisons: RowComparisons) -> dict[Misprint, int]:
    """Return the misprints in the order of the table, each with the number of its footnote."""
    misprints = dict.fromkeys(m for row in comparisons for c in row for m in c.misprints)
    return {misprint: number for number, misprint in enumerate(misprints, start=1)}


def _explain(m: Misprint) -> str:
    return f'{m.field} {m.printed.text} ({m.source}) should be {m.right.text}: {m.reason}'


def _mark(c: Comparison, notes: dict[Misprint, int]) -> str:
    marks = [f'({notes[m]})' for m in c.misprints]
    marks += [MISMATCH] if c.verdict == MISMATCH else []
    return ''.join(f' {mark}' for mark in marks)


def _measured(c: Comparison) -> str:
    if c.measured is None:
        return '-'
    if c.field in COUNTS:
        return f'{c.measured / UNITS[c.paper.unit]:.3f} {c.paper.unit}'
    return f'{c.measured:.4g}'


def _size(shape: tuple[int, int]) -> str:
    return f'{shape[0]}x{shape[1]}'
