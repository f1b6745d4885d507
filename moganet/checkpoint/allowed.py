"""The types beside tensors, containers and plain values that a checkpoint may hold: enough for timm's and MMEngine's.

``torch.load(weights_only=True)`` calls whatever is allowed with arguments of the file's choosing, so what is allowed
must be harmless under any arguments. Two things that such files need are not, and are replaced by readers of our own:

* ``getattr``, with which MMEngine writes the methods of a HistoryBuffer, walks from any object to ``os.system``.
* ``numpy.dtype`` takes its flags from the file. A forged one makes numpy follow pointers that the file made up.
"""

import argparse
import re
from typing import Any

import numpy as np
from mmengine.logging import HistoryBuffer


class Refused(ValueError):
    """A file asks for something that is more than data; the text names it."""


class DtypeReader:
    """Reads a pickled ``numpy.dtype`` of plain numbers."""

    def __init__(self, code: str, align: bool = False, copy: bool = False):
        if not re.fullmatch(r'b1|[iuf][1248]', code):
            raise Refused(f'numpy.dtype({code!r})')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        order = state[1]
        if order not in ('<', '>', '=', '|') or any(item is not None for item in state[2:5]):
            raise Refused('numpy.dtype with fields')
        self.dtype = self.dtype.newbyteorder(order)


class ArrayReader:
    """Reads a pickled ``numpy.ndarray``; ``plain`` takes the array out."""

    array: np.ndarray | None = None

    def __setstate__(self, state: tuple) -> None:
        _, shape, dtype, fortran, data = state
        if type(dtype) is not DtypeReader or type(data) is not bytes:
            raise Refused('numpy.ndarray of objects')
        array = np.ndarray(shape, dtype.dtype, buffer=data, order='F' if fortran else 'C')
        if array.nbytes != len(data):
            raise Refused(f'numpy.ndarray of shape {shape} with {len(data)} bytes')
        self.array = array.copy(order='K')


def _new_array(kind: type, shape: tuple, typecode: bytes) -> ArrayReader:
    return ArrayReader()


def _empty_bytes() -> bytes:
    return b''


def _scalar(dtype: DtypeReader, data: bytes) -> np.generic:
    if type(dtype) is not DtypeReader or type(data) is not bytes:
        raise Refused('numpy scalar of an object')
    return np.frombuffer(data, dtype.dtype)[0]


class _HistoryBufferReader(HistoryBuffer):
    """Reads a HistoryBuffer without its methods, which MMEngine's would write into a table that all buffers share."""

    def __setstate__(self, state: dict) -> None:
        self._log_history = plain(state['_log_history'])
        self._count_history = plain(state['_count_history'])
        self.max_length = int(state['max_length'])
        self.__class__ = HistoryBuffer
        self._set_default_statistics()


def _method(owner: Any, name: str) -> None:
    """Stands in for ``getattr``: a HistoryBuffer's methods are read as None and dropped, anything else is refused."""
    if owner is not _HistoryBufferReader:
        raise Refused(f'getattr(..., {name!r})')


ALLOWED = [
    argparse.Namespace,  # timm writes its arguments
    (_HistoryBufferReader, 'mmengine.logging.history_buffer.HistoryBuffer'),
    (_method, 'builtins.getattr'),
    # Values of a HistoryBuffer, best scores, key point tables in the description of a data set.
    (ArrayReader, 'numpy.ndarray'),
    (DtypeReader, 'numpy.dtype'),
    (_empty_bytes, 'builtins.bytes'),  # how an empty array's values are written
    *((_new_array, f'{core}.multiarray._reconstruct') for core in ('numpy.core', 'numpy._core')),
    *((_scalar, f'{core}.multiarray.scalar') for core in ('numpy.core', 'numpy._core')),
]


def plain(value: Any) -> Any:
    """``value`` with the arrays taken out of their readers, containers changed in place."""
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
