"""The published tables as data, read from ``configs/<task>/metafile.yml``.

A metafile is OpenMMLab's model index (``Collections``, ``Models``) with additional keys:

* ``Metrics`` of a collection: for each metric the ``Key`` in a run's log and the ``Scale`` from logged to printed
  values (1 if left out). ``Tolerance`` is the largest accepted difference between a run and the table;
* ``Source`` of a model: the tables that hold the row; the row repeats the digits of the first;
* ``Input Size`` of ``Metadata``: height and width in pixels that the row states;
* ``Weights Name``: the NAME in ``moganet://NAME`` of the file at ``Weights``, and ``SHA-256`` where known;
* ``Misprints``: for each wrong number its ``Field``, ``Source``, ``Printed``, ``Right`` and ``Reason``.

Counts are written as printed, with a unit (``FLOPs: 0.80 G``), to preserve the number of digits.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
COUNTS = ('Parameters', 'FLOPs')
UNITS = {'': 1, 'K': 10**3, 'M': 10**6, 'G': 10**9}


@dataclass(frozen=True)
class Printed:
    """A number as a table prints it: '0.80 G' is 0.8e9, known to 0.01e9.

    Attributes:
        text: Digits, and a unit where the number has one.

    Raises:
        ValueError: the text is no such number.
    """

    text: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r'\d+(\.\d+)?( [KMG])?', self.text):
            raise ValueError(f'{self.text!r} is no number as a table prints it, such as 0.80 G, 43.7 M or 76.5')

    @property
    def unit(self) -> str:
        """The unit: '', 'K', 'M' or 'G'."""
        return self.text.partition(' ')[2]

    @property
    def value(self) -> float:
        """The number in ones."""
        return float(Decimal(self.text.partition(' ')[0]) * UNITS[self.unit])

    def matches(self, number: float) -> bool:
        """Return True if ``number`` (in ones), rounded to the printed digits, equals the printed number."""
        digits = Decimal(self.text.partition(' ')[0])
        return (Decimal(number) / UNITS[self.unit]).quantize(digits, ROUND_HALF_UP) == digits


@dataclass(frozen=True)
class Metric:
    """A metric of a collection.

    Attributes:
        key: The key in the log of a run.
        tolerance: Largest accepted difference between a run and the table, in the table's unit.
        scale: Factor from the logged to the printed value.
    """

    key: str
    tolerance: float
    scale: float = 1.0


@dataclass(frozen=True)
class Misprint:
    """A wrong number in a table.

    Attributes:
        field: 'Parameters', 'FLOPs' or the name of a metric.
        source: The table.
        printed: The number in the table.
        right: The right number.
        reason: Explanation of the misprint.
    """

    field: str
    source: str
    printed: Printed
    right: Printed
    reason: str


@dataclass(frozen=True)
class Row:
    """A row of the published tables.

    Attributes:
        name: Name of the model.
        config: Path of its config.
        sources: The tables that hold the row; the digits are those of the first.
        shape: (H, W) of the input in pixels.
        numbers: Parameters, FLOPs and the metrics.
        metrics: The metrics of the row's collection.
        weights: Address of the weights.
        weights_name: NAME in ``moganet://NAME``.
        sha256: Checksum of the weights, where known.
        misprints: Known misprints of the row's numbers.
    """

    name: str
    config: str
    sources: tuple[str, ...]
    shape: tuple[int, int]
    numbers: dict[str, Printed]
    metrics: dict[str, Metric]
    weights: str | None = None
    weights_name: str | None = None
    sha256: str | None = None
    misprints: tuple[Misprint, ...] = field(default=())


def tasks(root: Path = CHECKOUT) -> list[str]:
    """Return the tasks that have a metafile under ``root``: names of folders in ``configs/``."""
    return sorted(path.parent.name for path in Path(root).glob('configs/*/metafile.yml'))


def rows(task: str, root: Path = CHECKOUT) -> list[Row]:
    """Return the rows of ``configs/<task>/metafile.yml``, in its order.

    Args:
        task: A folder of ``configs/``, such as 'cls'.
        root: The folder that holds ``configs/``. The installed package has no configs: pass your checkout if the
            package is installed elsewhere.

    Raises:
        FileNotFoundError: no such metafile; the message lists the tasks that have one.
        ValueError: a malformed metafile; the message names the file and the faulty entry.
    """
    path = Path(root) / 'configs' / task / 'metafile.yml'
    if not path.is_file():
        known = ', '.join(tasks(root)) or 'none'
        raise FileNotFoundError(f'{path} does not exist; tasks with a metafile: {known}')
    try:
        content = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ValueError(f'{path} is no YAML: {" ".join(str(error).split())}') from None
    content = _checked(content, {'Collections', 'Models'}, set(), str(path))
    metrics = {}
    for i, entry in enumerate(_list(content['Collections'], f'{path}: Collections')):
        where = f'{path}: Collections[{i}]'
        _checked(entry, {'Name', 'Metrics'}, {'Metadata', 'Paper', 'README', 'Code'}, where)
        metrics[entry['Name']] = {
            name: _metric(value, f'{where}: Metrics: {name}') for name, value in _dict(entry['Metrics'], where).items()
        }
    table = [_row(entry, metrics, path, i) for i, entry in enumerate(_list(content['Models'], f'{path}: Models'))]
    names = [row.name for row in table]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'{path}: two models are called {", ".join(twice)}: expected each name once')
    return table


def _row(entry: object, collections: dict[str, dict[str, Metric]], path: Path, index: int) -> Row:
    where = f'{path}: {entry["Name"] if isinstance(entry, dict) and "Name" in entry else f"Models[{index}]"}'
    required = {'Name', 'In Collection', 'Config', 'Source', 'Metadata', 'Results'}
    entry = _checked(entry, required, {'Weights', 'Weights Name', 'SHA-256', 'Misprints'}, where)
    metadata = _checked(entry['Metadata'], {*COUNTS, 'Input Size'}, {'Training Data'}, f'{where}: Metadata')
    collection = entry['In Collection']
    if collection not in collections:
        raise ValueError(f'{where}: In Collection is {collection!r}: expected one of {", ".join(collections)}')

    numbers = {name: _printed(metadata[name], f'{where}: {name}', name) for name in COUNTS}
    for result in _list(entry['Results'], f'{where}: Results'):
        _checked(result, {'Task', 'Dataset', 'Metrics'}, set(), f'{where}: Results')
        for name, value in _dict(result['Metrics'], f'{where}: Metrics').items():
            if name not in collections[collection]:
                known = ', '.join(collections[collection])
                raise ValueError(f'{where}: {name!r} is no metric of the collection: expected one of {known}')
            numbers[name] = _printed(value, f'{where}: {name}', name)
    shape = metadata['Input Size']
    if not (isinstance(shape, list) and len(shape) == 2 and all(isinstance(side, int) and side > 0 for side in shape)):
        raise ValueError(f'{where}: Input Size is {shape!r}: expected [height, width] in pixels')
    sha256 = entry.get('SHA-256')
    if sha256 is not None and not re.fullmatch('[0-9a-f]{64}', str(sha256)):
        raise ValueError(f'{where}: SHA-256 is {sha256!r}: expected 64 hexadecimal digits')
    return Row(
        name=entry['Name'],
        config=entry['Config'],
        sources=tuple(_list(entry['Source'], f'{where}: Source')),
        shape=(shape[0], shape[1]),
        numbers=numbers,
        metrics=collections[collection],
        weights=entry.get('Weights'),
        weights_name=entry.get('Weights Name'),
        sha256=sha256,
        misprints=tuple(_misprint(m, numbers, f'{where}: Misprints') for m in entry.get('Misprints', ())),
    )


def _misprint(entry: object, numbers: dict[str, Printed], where: str) -> Misprint:
    entry = _checked(entry, {'Field', 'Source', 'Printed', 'Right', 'Reason'}, set(), where)
    name = entry['Field']
    if name not in numbers:
        raise ValueError(f'{where}: Field is {name!r}: expected one of {", ".join(numbers)}')
    printed, right = (_printed(entry[key], f'{where}: {key}', name) for key in ('Printed', 'Right'))
    return Misprint(name, entry['Source'], printed, right, ' '.join(entry['Reason'].split()))


def _metric(entry: object, where: str) -> Metric:
    entry = _checked(entry, {'Key', 'Tolerance'}, {'Scale'}, where)
    return Metric(entry['Key'], float(entry['Tolerance']), float(entry.get('Scale', 1)))


def _printed(value: object, where: str, name: str) -> Printed:
    try:
        printed = Printed(str(value))
    except ValueError as error:
        raise ValueError(f'{where}: {error}') from None
    if bool(printed.unit) != (name in COUNTS):
        expected = 'a unit, K, M or G, after a space' if name in COUNTS else 'no unit'
        raise ValueError(f'{where}: {printed.text!r}: expected {expected}')
    return printed


def _checked(entry: object, required: Iterable[str], optional: Iterable[str], where: str) -> dict[str, Any]:
    """Return an entry that is a dict with all required keys and no unknown one, else raise ValueError."""
    content = _dict(entry, where)
    known = {*required, *optional}
    for problem, keys in (('lacks', set(required) - set(content)), ('has the unknown key', set(content) - known)):
        if keys:
            names, expected = (', '.join(sorted(map(str, group))) for group in (keys, known))
            raise ValueError(f'{where} {problem} {names}: expected the keys {expected}')
    return content


def _dict(entry: object, where: str) -> dict[str, Any]:
    if not isinstance(entry, dict):
        raise ValueError(f'{where} is {type(entry).__name__}: expected keys with values')
    return entry


def _list(entry: object, where: str) -> list[Any]:
    if not isinstance(entry, list) or not entry:
        raise ValueError(f'{where} is {entry!r}: expected a list with at least one entry')
    return entry
