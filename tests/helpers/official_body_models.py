"""Writes body models like the official files: Python 2 pickles of chumpy and scipy objects, without both packages."""

import contextlib
import io
import pickle
import struct
import sys
import types
from pathlib import Path

import numpy as np

MODULES = ('chumpy', 'chumpy.ch', 'chumpy.reordering', 'scipy', 'scipy.sparse', 'scipy.sparse.csc')


class _Python2Pickler(pickle._Pickler):
    """Writes text and bytes as Python 2's str, whose bytes Python 3 must read as latin1."""

    dispatch = dict(pickle._Pickler.dispatch)

    def _save_str(self, value):
        data = value if isinstance(value, bytes) else value.encode('latin1')
        self.write(b'T' + struct.pack('<i', len(data)) + data)
        self.memoize(value)

    dispatch[str] = dispatch[bytes] = _save_str


@contextlib.contextmanager
def _modules():
    """The modules that official files name, with classes that only store a state."""
    before = {name: sys.modules.get(name) for name in MODULES}
    for name in MODULES:
        sys.modules[name] = types.ModuleType(name)
    classes = {}
    for module, name in (('chumpy.ch', 'Ch'), ('chumpy.reordering', 'Select'), ('scipy.sparse.csc', 'csc_matrix')):
        classes[name] = type(name, (), {'__module__': module, '__qualname__': name})
        setattr(sys.modules[module], name, classes[name])
    try:
        yield classes
    finally:
        for name, module in before.items():
            sys.modules.pop(name)
            if module is not None:
                sys.modules[name] = module


def _node(kind: type, **state):
    node = kind()
    node.__dict__.update(state)
    return node


def _csc(kind: type, dense: np.ndarray):
    columns, rows = np.nonzero(dense.T)
    starts = np.concatenate(([0], np.cumsum(np.bincount(columns, minlength=dense.shape[1]))))
    return _node(
        kind,
        data=dense[rows, columns],
        indices=rows.astype(np.int32),
        indptr=starts.astype(np.int32),
        _shape=dense.shape,
        maxprint=50,
    )


def dumps(content, protocol: int = 2) -> bytes:
    file = io.BytesIO()
    _Python2Pickler(file, protocol).dump(content)
    return file.getvalue().replace(b'numpy._core.multiarray', b'numpy.core.multiarray')


def write_mano(arrays: dict, path: Path, protocol: int = 2) -> None:
    """Write MANO_RIGHT.pkl, with shapes selected from a larger space and a sparse regressor."""
    with _modules() as kinds:
        vertices = arrays['v_template'].shape[0]
        wide = np.concatenate((arrays['shapedirs'], np.full((vertices, 3, 10), 9.0)), -1).astype(np.float64)
        picked = np.arange(wide.size).reshape(wide.shape)[..., :10].ravel()
        content = dict(arrays)
        content['shapedirs'] = _node(
            kinds['Select'], a=_node(kinds['Ch'], x=wide), idxs=picked, preferred_shape=(vertices, 3, 10)
        )
        content['J_regressor'] = _csc(kinds['csc_matrix'], arrays['J_regressor'].astype(np.float64))
        content['kintree_table'] = arrays['kintree_table'].astype(np.uint32)
        content['f'] = arrays['f'].astype(np.uint32)
        content.update(bs_type='lrotmin', bs_style='lbs')
        path.write_bytes(dumps(content, protocol))


def write_flame(arrays: dict, path: Path, protocol: int = 2) -> None:
    """Write FLAME_NEUTRAL.pkl, with most arrays in chumpy nodes, and its two files of landmarks."""
    with _modules() as kinds:
        content = {key: value for key, value in arrays.items() if 'lmk' not in key}
        for key in ('v_template', 'shapedirs', 'posedirs', 'weights'):
            content[key] = _node(kinds['Ch'], x=arrays[key].astype(np.float64))
        content['J_regressor'] = _csc(kinds['csc_matrix'], arrays['J_regressor'].astype(np.float64))
        path.write_bytes(dumps(content, protocol))
    static = dict(lmk_face_idx=arrays['lmk_faces_idx'].astype(np.uint32), lmk_b_coords=arrays['lmk_bary_coords'])
    dynamic = dict(lmk_face_idx=arrays['dynamic_lmk_faces_idx'], lmk_b_coords=arrays['dynamic_lmk_bary_coords'])
    path.with_name('flame_static_embedding.pkl').write_bytes(dumps(static, protocol))
    np.save(path.with_name('flame_dynamic_embedding.npy'), dynamic)
