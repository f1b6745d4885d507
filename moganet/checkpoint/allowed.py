"""The allow-list of a checkpoint: types beside tensors, containers and plain values that timm and MMEngine write.

``torch.load(weights_only=True)`` calls the allowed types with arguments from the file. Each of them must therefore be
harmless under any arguments. Two names in such files are not harmless, so readers of our own replace them:

* ``getattr``: MMEngine writes the methods of a HistoryBuffer with it, and a forged file could reach ``os.system``.
* ``numpy.dtype``: it takes its flags from the file, and forged flags make numpy follow pointers out of the file.
"""

import argparse
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer

from ..compat import restore_history


class Refused(ValueError):
    """A file asks for an object that is more than data. The text names the object."""


class DtypeReader:
    """Reader of a pickled ``numpy.dtype`` of numbers.

    Args:
        code: Type code in the file, such as 'f4'.
        align: In the file, unused.
        copy: In the file, unused.

    Raises:
        Refused: the dtype is not one of plain numbers.
    """

    def __init__(self, code: str, align: bool = False, copy: bool = False) -> None:
        if not re.fullmatch(r'b1|[iuf][1248]', code):
            raise Refused(f'numpy.dtype({code!r})')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        order = state[1]
        if order not in ('<', '>', '=', '|') or any(item is not None for item in state[2:5]):
            raise Refused('numpy.dtype with fields')
        self.dtype = self.dtype.newbyteorder(order)


class ArrayReader:
    """Reader of a pickled ``numpy.ndarray``. ``plain`` replaces the reader by its array."""

    array: np.ndarray[Any, Any] | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        if type(dtype) is not DtypeReader or type(data) is not bytes:
            raise Refused('numpy.ndarray of objects')
        array: np.ndarray[Any, Any] = np.ndarray(shape, dtype.dtype, buffer=data, order='F' if fortran else 'C')
        if array.nbytes != len(data):
            raise Refused(f'numpy.ndarray of shape {shape} with {len(data)} bytes')
        self.array = array.copy(order='K')


def _new_array(cls: type, shape: tuple, typecode: bytes) -> ArrayReader:
    return ArrayReader()


def _empty_bytes() -> bytes:
    return b''


def _scalar(dtype: DtypeReader, data: bytes) -> np.generic:
    if type(dtype) is not DtypeReader or type(data) is not bytes:
        raise Refused('numpy scalar of an object')
    return np.frombuffer(data, dtype.dtype)[0]


class _HistoryBufferReader(HistoryBuffer):
    """Reader of a HistoryBuffer that ignores the methods in the file.

    MMEngine's own reader would write these methods into a table that all buffers share.
    """

    def __setstate__(self, state: dict[str, Any]) -> None:
        restore_history(
            self, plain(state['_log_history']), plain(state['_count_history']), max_length=int(state['max_length'])
        )


def _method(owner: Any, name: str) -> None:
    """Replacement of ``getattr``: read a method of a HistoryBuffer as None, refuse any other attribute."""
    if owner is not _HistoryBufferReader:
        raise Refused(f'getattr(..., {name!r})')


ALLOWED: list[Callable[..., Any] | tuple[Callable[..., Any], str]] = [
    argparse.Namespace,  # timm writes its arguments
    (_HistoryBufferReader, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (_method, 'builtins.getattr'),
    # Arrays: values of a HistoryBuffer, best scores, keypoint tables in the description of a data set.
    (ArrayReader, 'numpy.ndarray'),
    (DtypeReader, 'numpy.dtype'),
    (_empty_bytes, 'builtins.bytes'),  # numpy writes the values of an empty array as bytes()
    *((_new_array, f'{core}.multiarray._reconstruct') for core in ('numpy.core', 'numpy._core')),
    *((_scalar, f'{core}.multiarray.scalar') for core in ('numpy.core', 'numpy._core')),
]


def plain(value: Any) -> Any:
    """Return ``value`` with each array reader replaced by its array; containers are changed in place.

    Raises:
        Refused: a reader has no array.
    """
    if isinstance(value, ArrayReader):
        if value.array is None:
            raise Refused('numpy.ndarray without values')
        return value.array
    if isinstance(value, dict):
        for key in value:
            value[key] = plain(value[key])
    elif isinstance(value, argparse.Namespace):
        plain(vars(value))
    elif type(value) is list:
        value[:] = map(plain, value)
    elif type(value) is tuple:
        return tuple(map(plain, value))
    return value
