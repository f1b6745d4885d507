"""The published tables as data, read from ``configs/<task>/metafile.yml``.

A metafile is OpenMMLab's model index (``Collections``, ``Models``) with these keys of our own:

* a collection's ``Metrics``: per metric, the ``Key`` a run logs it under, the ``Scale`` from logged to printed values
  (1 if left out) and the ``Tolerance``, how far a run may differ from the table;
* a model's ``Source``: the tables that hold the row; the first is the one whose digits the row repeats;
* ``Metadata``'s ``Input Size``: height and width in pixels that the row states;
* ``Weights Name``: what the file at ``Weights`` is called in ``moganet://NAME``, and ``SHA-256`` where it is known;
* ``Misprints``: per wrong number its ``Field``, ``Source``, ``Printed``, ``Right`` and ``Reason``.

Counts are written as printed, with a unit (``FLOPs: 0.80 G``), so that the number of digits is kept.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

import yaml

CHECKOUT = Path(__file__).resolve().parents[2]
COUNTS = ('Parameters', 'FLOPs')
UNITS = {'': 1, 'K': 10**3, 'M': 10**6, 'G': 10**9}


@dataclass(frozen=True)
class Printed:
    """A number as a table prints it: '0.80 G' is 0.8e9, known to 0.01e9."""

    text: str

    def __post_init__(self) -> None:
        if not re.fullmatch(r'\d+(\.\d+)?( [KMG])?', self.text):
            raise ValueError(f'{self.text!r} is no number as a table prints it, such as 0.80 G, 43.7 M or 76.5')

    @property
    def unit(self) -> str:
        return self.text.partition(' ')[2]

    @property
    def value(self) -> float:
        """The number itself, in ones."""
        return float(Decimal(self.text.partition(' ')[0]) * UNITS[self.unit])

    def matches(self, number: float) -> bool:
        """Whether ``number``, rounded to the printed digits, is what is printed."""
        digits = Decimal(self.text.partition(' ')[0])
        return (Decimal(number) / UNITS[self.unit]).quantize(digits, ROUND_HALF_UP) == digits


@dataclass(frozen=True)
class Metric:
    """How a run logs a metric, and how far it may be from the table (in the table's unit)."""

    key: str
    tolerance: float
    scale: float = 1.0


@dataclass(frozen=True)
class Misprint:
    """A number that a table gets wrong."""

    field: str
    source: str
    printed: Printed
    right: Printed
    reason: str


@dataclass(frozen=True)
class Row:
    """A row of the published tables. ``numbers`` has Parameters, FLOPs and the metrics; ``shape`` is (H, W)."""

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
    """The tasks that have a metafile under ``root``: names of folders in ``configs/``."""
    return sorted(path.parent.name for path in Path(root).glob('configs/*/metafile.yml'))


def rows(task: str, root: Path = CHECKOUT) -> list[Row]:
    """The rows of ``configs/<task>/metafile.yml``, in its order.

    Args:
        task: A folder of ``configs/``, such as 'cls'.
        root: The folder that holds ``configs/``. Configs are not part of the installed package, so name your checkout
            where the package is installed apart from it.

    Raises:
        FileNotFoundError: no such metafile; the tasks that have one are named.
        ValueError: a malformed metafile, with its path and the entry at fault.
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
    found = [_row(entry, metrics, path, i) for i, entry in enumerate(_list(content['Models'], f'{path}: Models'))]
    names = [row.name for row in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f'{path}: two models are called {", ".join(twice)}: expected each name once')
    return found


def _row(entry: dict, collections: dict[str, dict[str, Metric]], path: Path, index: int) -> Row:
    where = f'{path}: {entry["Name"] if isinstance(entry, dict) and "Name" in entry else f"Models[{index}]"}'
    required = {'Name', 'In Collection', 'Config', 'Source', 'Metadata', 'Results'}
    _checked(entry, required, {'Weights', 'Weights Name', 'SHA-256', 'Misprints'}, where)
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
        shape=tuple(shape),
        numbers=numbers,
        metrics=collections[collection],
        weights=entry.get('Weights'),
        weights_name=entry.get('Weights Name'),
        sha256=sha256,
        misprints=tuple(_misprint(m, numbers, f'{where}: Misprints') for m in entry.get('Misprints', ())),
    )


def _misprint(entry: dict, numbers: dict[str, Printed], where: str) -> Misprint:
    _checked(entry, {'Field', 'Source', 'Printed', 'Right', 'Reason'}, set(), where)
    name = entry['Field']
    if name not in numbers:
        raise ValueError(f'{where}: Field is {name!r}: expected one of {", ".join(numbers)}')
    printed, right = (_printed(entry[key], f'{where}: {key}', name) for key in ('Printed', 'Right'))
    return Misprint(name, entry['Source'], printed, right, ' '.join(entry['Reason'].split()))


def _metric(entry: dict, where: str) -> Metric:
    _checked(entry, {'Key', 'Tolerance'}, {'Scale'}, where)
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


def _checked(entry: object, required: Iterable[str], optional: Iterable[str], where: str) -> dict:
    keys = set(_dict(entry, where))
    for kind, wrong in (('lacks', set(required) - keys), ('has the unknown key', keys - {*required, *optional})):
        if wrong:
            expected = ', '.join(sorted({*required, *optional}))
            raise ValueError(f'{where} {kind} {", ".join(sorted(map(str, wrong)))}: expected the keys {expected}')
    return entry


def _dict(entry: object, where: str) -> dict:
    if not isinstance(entry, dict):
        raise ValueError(f'{where} is {type(entry).__name__}: expected keys with values')
    return entry


def _list(entry: object, where: str) -> list:
    if not isinstance(entry, list) or not entry:
        raise ValueError(f'{where} is {entry!r}: expected a list with at least one entry')
    return entry
