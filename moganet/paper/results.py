"""Reads the metrics of MMEngine's runs from their work folders."""

import json
import re
from collections.abc import Collection
from pathlib import Path

TIMESTAMP = re.compile(r'\d{8}_\d{6}')


def newest_metrics(work_dir: Path, keys: Collection[str] = ()) -> dict[str, float]:
    """Return the metrics of the newest run in a config's work folder, under the keys of MMEngine's log.

    A test (``<time>/<time>.json``) has priority over the last validation in the same folder
    (``vis_data/scalars.json``). Runs without metrics are skipped, and so are incomplete lines of a killed run.

    Args:
        work_dir: A folder such as ``work_dirs/moganet_xt``; it need not exist.
        keys: Metrics that are logged without a slash, such as mmseg's mIoU.

    Returns:
        Logged key and number of each metric; empty if no run has any.
    """
    for run in sorted(Path(work_dir).glob('*/'), key=lambda path: path.name, reverse=True):
        if not TIMESTAMP.fullmatch(run.name):
            continue
        for path in (run / f'{run.name}.json', run / 'vis_data' / 'scalars.json'):
            metrics = _last_metrics(path, keys)
            if metrics:
                return metrics
    return {}


def _last_metrics(path: Path, keys: Collection[str]) -> dict[str, float]:
    """Return the metrics of the last line of a log that has any: keys with a slash (accuracy/top1), or in ``keys``."""
    if not path.is_file():
        return {}
    text = path.read_text(errors='replace')
    # The file of a test is one object, on one or several lines; the log of a run has one object per line.
    for line in (text, *reversed(text.splitlines())):
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue
        if isinstance(entry, dict):
            numbers = {key: float(value) for key, value in entry.items() if _is_number(value)}
            metrics = {key: value for key, value in numbers.items() if '/' in key or key in keys}
            if metrics:
                return metrics
    return {}


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
