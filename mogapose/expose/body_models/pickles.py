"""Reads the official body models' Python 2 pickles as data: without chumpy, without scipy, without running anything."""

import pickle
from pathlib import Path
from typing import IO, Any

import numpy as np

from moganet.checkpoint.allowed import ArrayReader, DtypeReader, Refused


class _Node:
    """An object of the file, of which only the state is kept."""

    state: dict | None = None

    def __setstate__(self, state: dict) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        raise Refused(f'{type(self).__name__}, which this reader does not know')


class _Ch(_Node):
    """``chumpy.ch.Ch``: an array."""

    def array(self) -> np.ndarray:
        return as_array(self.state['x'])


class _Select(_Node):
    """``chumpy.reordering.Select``: entries of another node's flattened array, in a new shape."""

    def array(self) -> np.ndarray:
        picked = as_array(self.state['a']).ravel()[as_array(self.state['idxs'])]
        return picked.reshape(tuple(int(size) for size in self.state['preferred_shape']))


class _Sparse(_Node):
    """``scipy.sparse.csc_matrix``, made dense."""

    def array(self) -> np.ndarray:
        shape = self.state.get('_shape', self.state.get('shape'))
        values, rows, starts = (as_array(self.state[name]) for name in ('data', 'indices', 'indptr'))
        counts = np.diff(starts)
        if len(starts) != shape[1] + 1 or counts.min(initial=0) < 0 or counts.sum() != len(rows):
            raise Refused(f'a sparse matrix of {shape} with {len(starts)} column starts and {len(rows)} entries')
        dense = np.zeros(shape, values.dtype)
        np.add.at(dense, (rows, np.repeat(np.arange(shape[1]), counts)), values)
        return dense


class _OldArray(ArrayReader):
    """Reads an ``ndarray`` whose bytes Python 2 wrote as text, or of objects, which ``np.save`` writes for a dict."""

    objects: list | None = None

    def __setstate__(self, state: tuple) -> None:
        version, shape, dtype, fortran, data = state
        if isinstance(dtype, _ObjectDtype) and isinstance(data, list):
            self.objects = data
            return
        data = data.encode('latin1') if isinstance(data, str) else data
        super().__setstate__((version, shape, dtype, fortran, data))


class _ObjectDtype:
    def __setstate__(self, state: tuple) -> None:
        """Nothing of it is used."""


def _dtype(code: str, align: bool = False, copy: bool = False) -> DtypeReader | _ObjectDtype:
    return _ObjectDtype() if code in ('O', 'O8') else DtypeReader(code)


def _scalar(dtype: DtypeReader, data: str | bytes) -> np.generic:
    data = data.encode('latin1') if isinstance(data, str) else data
    return np.frombuffer(data, dtype.dtype)[0]


def _new_node(kind: type, base: type, state: None) -> _Node:
    if not (isinstance(kind, type) and issubclass(kind, _Node)):
        raise Refused(f'_reconstructor({kind!r})')
    return kind()


_FUNCTIONS = {
    'numpy.dtype': _dtype,
    'numpy.core.multiarray._reconstruct': lambda kind, shape, typecode: _OldArray(),
    'numpy._core.multiarray._reconstruct': lambda kind, shape, typecode: _OldArray(),
    'numpy.core.multiarray.scalar': _scalar,
    'numpy._core.multiarray.scalar': _scalar,
    '_codecs.encode': lambda text, codec='latin1': text.encode('latin1'),
    'copy_reg._reconstructor': _new_node,
    'copyreg._reconstructor': _new_node,
    '__builtin__.set': set,
    'builtins.set': set,
}
_CLASSES = {
    'numpy.ndarray': _OldArray,
    '__builtin__.object': object,
    'builtins.object': object,
    'chumpy.ch.Ch': _Ch,
    'chumpy.reordering.Select': _Select,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        full = f'{module}.{name}'
        if full in _FUNCTIONS:
            # A new one each time, as a file may set attributes of what it names.
            return lambda *arguments: _FUNCTIONS[full](*arguments)
        if full in _CLASSES:
            return _CLASSES[full]
        if module.startswith('scipy.sparse') and name in ('csc_matrix', 'csc_array'):
            return _Sparse
        if module == 'chumpy' or module.startswith('chumpy.'):
            return type(full, (_Node,), {})
        raise Refused(full)


def as_array(value: Any) -> np.ndarray:
    """The array that a value of a pickle stands for."""
    if isinstance(value, _Node):
        return value.array()
    if isinstance(value, ArrayReader):
        if value.array is None:
            raise Refused('numpy.ndarray of objects')
        return value.array
    return np.asarray(value)


def read_pickle(path: Path) -> dict[str, Any]:
    """The dict that a ``.pkl`` holds, or a ``.npy`` of one pickled dict. ``as_array`` reads its values.

    Raises:
        ValueError: The file is none, or names what is more than data; the text names it.
    """
    try:
        with open(path, 'rb') as file:
            if path.suffix == '.npy' and read_npy_dtype(file) != np.dtype(object):
                raise Refused('an array, where a pickled dict is expected')
            content = unpickle(file)
        if path.suffix == '.npy' and isinstance(content, list) and len(content) == 1:
            content = content[0]
    except Refused as error:
        raise ValueError(f'{path}: not read, as it asks for {error}') from None
    except OSError:
        raise
    except Exception as error:  # a damaged or forged pickle fails in any way it likes
        reason = ' '.join(str(error).split())
        raise ValueError(f'{path}: not a readable pickle ({type(error).__name__}: {reason})') from None
    if not isinstance(content, dict):
        raise ValueError(f'{path}: holds {type(content).__name__}, where a dict of arrays is expected')
    return content


def read_npy_dtype(file: IO[bytes]) -> np.dtype:
    """The type that the header of a ``.npy`` tells; what follows it in ``file`` is the data."""
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return reader(file)[2]


def unpickle(file: IO[bytes]) -> Any:
    """What a pickle holds, of an array of objects the list of them. ``as_array`` reads arrays in it.

    Raises:
        Refused: The pickle names what is more than data. A damaged one fails in any way it likes.
    """
    content = _Unpickler(file, encoding='latin1').load()
    return content.objects if isinstance(content, _OldArray) and content.objects is not None else content
