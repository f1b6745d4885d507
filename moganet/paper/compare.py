"""Compares the published tables with the counts of the code and the metrics of runs."""

from dataclasses import dataclass
from pathlib import Path

from ..run.config import load_config
from ..run.tasks import find_task
from .complexity import Complexity
from .metafile import COUNTS, Misprint, Printed, Row, rows
from .results import newest_metrics

SAME, MISPRINT, MISMATCH, NOT_MEASURED = 'same', 'misprint', 'MISMATCH', 'not measured'


@dataclass(frozen=True)
class Comparison:
    """A printed number beside the counted or measured one.

    Attributes:
        row: The row of the table.
        field: 'Parameters', 'FLOPs' or the name of a metric.
        paper: The number as printed.
        measured: The number counted by the code or measured by a run, in ones; None without a run.
        verdict: ``SAME``, ``MISPRINT``, ``MISMATCH`` or ``NOT_MEASURED``.
        misprints: The misprints of this number that the metafile lists.
    """

    row: Row
    field: str
    paper: Printed
    measured: float | None
    verdict: str
    misprints: tuple[Misprint, ...]


def compare_task(
    task: str, root: Path, results: Path | None = None, source: str | None = None
) -> list[list[Comparison]]:
    """Compare the rows of a task with the counts of their configs and the metrics of their runs.

    Args:
        task: A folder of ``configs/``.
        root: The folder that holds ``configs/``.
        results: A folder of work folders, one per config; None compares counts only.
        source: Compare only the rows that have this table as a Source.

    Returns:
        The comparisons of each row.

    Raises:
        ValueError: no row has that source.
    """
    chosen = [row for row in rows(task, root) if source is None or source in row.sources]
    if not chosen:
        raise ValueError(f'no row of {task} has the Source {source!r}')
    complexity = find_task(task).complexity
    compared: list[list[Comparison]] = []
    counts: dict[tuple[str, tuple[int, int]], Complexity] = {}
    for row in chosen:
        keys = {metric.key for metric in row.metrics.values()}
        metrics = newest_metrics(Path(results) / Path(row.config).stem, keys) if results else {}
        cfg = load_config(Path(root) / row.config)
        network = repr(cfg.model), row.shape  # several rows may train the same network
        if network not in counts:
            counts[network] = complexity.count(cfg, row.shape)
        compared.append(compare(row, counts[network], metrics))
    return compared


def compare(row: Row, complexity: Complexity, results: dict[str, float]) -> list[Comparison]:
    """Compare a row with the counts of its config and with a run's metrics, if there are any.

    A count must round to the printed digits; a metric must lie within the metafile's tolerance. Only a misprint in the
    metafile whose right value agrees explains another number. A listed misprint that is none is a mismatch too.

    Args:
        row: The row of the table.
        complexity: The counts of its config.
        results: Logged metrics of a run, by the keys of the log.
    """
    measured: dict[str, float] = {'Parameters': complexity.parameters, 'FLOPs': complexity.macs}
    for name, metric in row.metrics.items():
        if metric.key in results:
            measured[name] = results[metric.key] * metric.scale
    return [_compare(row, field, paper, measured.get(field)) for field, paper in row.numbers.items()]


def _compare(row: Row, field: str, paper: Printed, measured: float | None) -> Comparison:
    misprints = tuple(m for m in row.misprints if m.field == field)
    verdict = NOT_MEASURED if measured is None else _verdict(row, field, paper, measured, misprints)
    return Comparison(row, field, paper, measured, verdict, misprints)


def _verdict(row: Row, field: str, paper: Printed, measured: float, misprints: tuple[Misprint, ...]) -> str:
    def agrees(printed: Printed) -> bool:
        if field in COUNTS:
            return printed.matches(measured)
        return abs(measured - printed.value) <= row.metrics[field].tolerance + 1e-9

    # This holds for misprints in other tables too. Metrics vary from run to run: one may agree with a misprint.
    if not all(agrees(m.right) and (field not in COUNTS or not agrees(m.printed)) for m in misprints):
        return MISMATCH
    if any(m.printed == paper for m in misprints):
        return MISPRINT
    return SAME if agrees(paper) else MISMATCH
