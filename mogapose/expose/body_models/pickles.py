"""Reads the Python 2 pickles of the official body models as data.

It needs neither chumpy nor scipy, and no code of the file runs.
"""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from moganet.checkpoint.allowed import ArrayReader, DtypeReader, Refused


class _Node:
    """Stands for an object of the file and stores its state, which may be anything."""

    state: Any = None

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def array(self) -> np.ndarray:
        """Return the array that the object stands for."""
        raise Refused(f'{type(self).__name__}, which this reader does not know')


class _Ch(_Node):
    """``chumpy.ch.Ch``, an array."""

    def array(self) -> np.ndarray:
        return as_array(self.state['x'])


class _Select(_Node):
    """``chumpy.reordering.Select``, entries of another node's flattened array in a new shape."""

    def array(self) -> np.ndarray:
        entries = as_array(self.state['a']).ravel()[as_array(self.state['idxs'])]
        return entries.reshape(tuple(int(size) for size in self.state['preferred_shape']))


class _Sparse(_Node):
    """``scipy.sparse.csc_matrix``, read as a dense array."""

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
    """Reads an ``ndarray`` whose bytes Python 2 wrote as text, or the array of objects with which a dict is saved."""

    objects: list | None = None

    def __setstate__(self, state: tuple) -> None:
        version, shape, dtype, fortran, data = state
        if isinstance(dtype, _ObjectDtype) and isinstance(data, list):
            self.objects = data
            return
        data = data.encode('latin1') if isinstance(data, str) else data
        super().__setstate__((version, shape, dtype, fortran, data))


class _ObjectDtype:
    """The dtype of an array of objects."""

    def __setstate__(self, state: tuple) -> None:
        """Ignore the state."""


def _dtype(code: str, align: bool = False, copy: bool = False) -> DtypeReader | _ObjectDtype:
    return _ObjectDtype() if code in ('O', 'O8') else DtypeReader(code)


def _scalar(dtype: DtypeReader, data: str | bytes) -> np.generic:
    data = data.encode('latin1') if isinstance(data, str) else data
    return np.frombuffer(data, dtype.dtype)[0]


def _new_node(cls: type, base: type, state: None) -> _Node:
    if not (isinstance(cls, type) and issubclass(cls, _Node)):
        raise Refused(f'_reconstructor({cls!r})')
    return cls()


# The functions and classes that a file may name, and their harmless replacements.
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    'numpy.dtype': _dtype,
    'numpy.core.multiarray._reconstruct': lambda cls, shape, typecode: _OldArray(),
    'numpy._core.multiarray._reconstruct': lambda cls, shape, typecode: _OldArray(),
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
    """An unpickler that resolves only the names above."""

    def find_class(self, module: str, name: str) -> Any:
        full = f'{module}.{name}'
        if full in _FUNCTIONS:
            # A new function each time: a file may set attributes of the functions that it names.
            return lambda *arguments: _FUNCTIONS[full](*arguments)
        if full in _CLASSES:
            return _CLASSES[full]
        if module.startswith('scipy.sparse') and name in ('csc_matrix', 'csc_array'):
            return _Sparse
        if module == 'chumpy' or module.startswith('chumpy.'):
            return type(full, (_Node,), {})
        raise Refused(full)


def as_array(value: Any) -> np.ndarray:
    """Return the array that a value of a pickle stands for.

    Args:
        value: A value that ``read_pickle`` or ``unpickle`` returned.

    Raises:
        Refused: The value stands for an unknown object. A forged state may cause any other error.
    """
    if isinstance(value, _Node):
        return value.array()
    if isinstance(value, ArrayReader):
        if value.array is None:
            raise Refused('numpy.ndarray of objects')
        return value.array
    return np.asarray(value)


def read_pickle(path: Path) -> dict[str, Any]:
    """Read the dict of a ``.pkl`` file, or of a ``.npy`` file with one pickled dict.

    Args:
        path: The file.

    Returns:
        The dict. ``as_array`` turns its values into arrays.

    Raises:
        ValueError: The file is no readable pickle of a dict, or names an object that is more than data.
        OSError: The file cannot be opened.
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
    except Exception as error:  # a damaged or forged pickle may raise anything
        reason = ' '.join(str(error).split())
        raise ValueError(f'{path}: not a readable pickle ({type(error).__name__}: {reason})') from None
    if not isinstance(content, dict):
        raise ValueError(f'{path}: holds {type(content).__name__}, where a dict of arrays is expected')
    return content


def read_npy_dtype(file: IO[bytes]) -> np.dtype:
    """Read the header of a ``.npy`` file and return the dtype. The file is then at the start of the data.

    Args:
        file: The file, at its start.

    Raises:
        ValueError: The header is damaged.
    """
    version = np.lib.format.read_magic(file)
    reader = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    return reader(file)[2]


def unpickle(file: IO[bytes]) -> Any:
    """Load a pickle as data.

    Args:
        file: The file, at the start of the pickle.

    Returns:
        The content, an array of objects as a list. ``as_array`` turns values into arrays.

    Raises:
        Refused: The pickle names an object that is more than data. A damaged pickle may raise any other error.
    """
    content = _Unpickler(file, encoding='latin1').load()
    return content.objects if isinstance(content, _OldArray) and content.objects is not None else content
