"""Reads what MMEngine's runs measured out of their work folders."""

import json
import re
from collections.abc import Collection
from pathlib import Path

TIMESTAMP = re.compile(r'\d{8}_\d{6}')


def measured(work_dir: Path, keys: Collection[str] = ()) -> dict[str, float]:
    """The metrics of the newest run below a config's work folder, under the keys MMEngine logged them.

    A test (``<time>/<time>.json``) counts before the last validation of the same folder (``vis_data/scalars.json``).
    Runs without any are passed over, and so are lines that a killed run left half written.

    Args:
        work_dir: Such as ``work_dirs/moganet_xt``; need not exist.
        keys: Metrics that are logged without a slash, such as mmseg's mIoU.
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
    """The numbers of the last line of ``path`` with a metric: a key with a slash (accuracy/top1) or one of ``keys``."""
    if not path.is_file():
        return {}
    text = path.read_text(errors='replace')
    # A test's file is one object over several lines or one; a run's log is one object per line.
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
