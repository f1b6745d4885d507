"""MANO, FLAME and SMPL-X files: their sources, their expected arrays, and a reader that checks them.

The models are licensed to persons and must not be passed on: this project contains none of them.
"""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .pickles import as_array, read_pickle

_MANO_PARENTS = (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14)
# fmt: off
_SMPLX_PARENTS = (
    -1, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 9, 9, 12, 13, 14, 16, 17, 18, 19, 15, 15, 15,
    20, 25, 26, 20, 28, 29, 20, 31, 32, 20, 34, 35, 20, 37, 38,
    21, 40, 41, 21, 43, 44, 21, 46, 47, 21, 49, 50, 21, 52, 53,
)
# fmt: on


@dataclass(frozen=True)
class BodyModelFile:
    """The expected content of the file of one model.

    Attributes:
        title: Name of the model for messages.
        vertices: Number of vertices.
        faces: Number of triangles.
        parents: For each joint its parent, -1 for the root.
        columns: The possible numbers of shape and of expression coefficients.
        hand_means: Keys of mean hand poses, 45 numbers each.
        landmarks: The file has face landmarks.
        source: The place where a licensed user finds the file, for the error when it is missing.
    """

    title: str
    vertices: int
    faces: int
    parents: tuple[int, ...]
    columns: tuple[tuple[int, int], ...]
    hand_means: tuple[str, ...]
    landmarks: bool
    source: str

    @property
    def joints(self) -> int:
        """Number of joints."""
        return len(self.parents)

    def __str__(self) -> str:
        return f'{self.title} ({self.vertices} vertices, {self.joints} joints)'


BODY_MODELS = dict(
    mano=BodyModelFile(
        title='MANO, right hand',
        vertices=778,
        faces=1538,
        parents=_MANO_PARENTS,
        columns=((10, 0),),
        hand_means=('hands_mean',),
        landmarks=False,
        source='register at https://mano.is.tue.mpg.de, download "Models & Code" (mano_v1_2.zip) and take '
        'models/MANO_RIGHT.pkl',
    ),
    flame=BodyModelFile(
        title='FLAME',
        vertices=5023,
        faces=9976,
        parents=(-1, 0, 1, 1, 1),
        columns=((300, 100),),
        hand_means=(),
        landmarks=True,
        source='register at https://flame.is.tue.mpg.de, download "FLAME 2020" and take generic_model.pkl, renamed',
    ),
    smplx=BodyModelFile(
        title='SMPL-X',
        vertices=10475,
        faces=20908,
        parents=_SMPLX_PARENTS,
        columns=((300, 100), (10, 10)),
        hand_means=('hands_meanl', 'hands_meanr'),
        landmarks=True,
        source='register at https://smpl-x.is.tue.mpg.de, download "SMPL-X v1.1" (models_smplx_v1_1.zip) and take '
        'models/smplx/SMPLX_NEUTRAL.npz',
    ),
)
# Names of other models by their numbers of vertices and joints, for the error when one lies at an expected path.
_OTHERS = {(6890, 24): 'SMPL', (6890, 52): 'SMPL+H or MANO with a body'}

NUM_LANDMARKS = 51
CONTOUR_SHAPE = (79, 17)
# FLAME's landmarks come in two files of their own: the file's name, and our names of its arrays with the file's.
_EMBEDDINGS = (
    ('flame_static_embedding.pkl', dict(lmk_faces_idx='lmk_face_idx', lmk_bary_coords='lmk_b_coords')),
    ('flame_dynamic_embedding.npy', dict(dynamic_lmk_faces_idx='lmk_face_idx', dynamic_lmk_bary_coords='lmk_b_coords')),
)
_EMBEDDINGS_SOURCE = 'take it from the folder flame_model of https://github.com/soubhiksanyal/RingNet'


def read_body_model(path: str | Path, convention: str) -> dict[str, np.ndarray]:
    """Read and check the arrays of a body model.

    If the ``.pkl`` is missing, a ``.npz`` of the same name is read. FLAME's landmark files lie beside the model.

    Args:
        path: The file.
        convention: 'mano', 'flame' or 'smplx'.

    Returns:
        Dense arrays in float32 or int64, named as in SMPL-X's file.

    Raises:
        FileNotFoundError: A file does not exist; the message says where to get it and where to put it.
        ValueError: The file holds another model, another size or NaN, or lacks a key; one line that names the file.
    """
    expected = BODY_MODELS[convention]
    path = _existing(Path(path), expected.source)
    content = _read(path)
    sizes = identify(content, path)
    if sizes != (expected.vertices, expected.joints):
        raise ValueError(f'{path}: holds {_describe(sizes)}, where {expected} is expected')
    arrays = {name: _array(content, name, shape, path) for name, shape in _shapes(expected).items()}
    columns = arrays['shapedirs'].shape[-1]
    if columns not in map(sum, expected.columns):
        counts = ' or '.join(f'{shape} + {expression}' for shape, expression in expected.columns)
        raise ValueError(f'{path}: shapedirs has {columns} columns, where {counts} (shape + expression) are expected')
    parents = arrays.pop('kintree_table')[0]
    if tuple(parents[1:]) != expected.parents[1:]:
        raise ValueError(f'{path}: kintree_table is not that of {expected.title}')
    _check_indices(arrays, 'f', expected.vertices, path)
    if convention == 'mano':
        _check_right_hand(arrays, path)
    if expected.landmarks:
        arrays.update(_landmarks(content, expected, path))
    return arrays


def convert(source: str | Path, target: str | Path) -> str:
    """Write an official file as a plain ``.npz``, FLAME with its landmarks.

    Args:
        source: The official file of MANO, FLAME or SMPL-X.
        target: The ``.npz`` to write; its folder is created.

    Returns:
        A summary of one line.

    Raises:
        FileNotFoundError: The source does not exist.
        ValueError: The target is no ``.npz``, or the source is none of the three models or damaged.
    """
    source, target = Path(source), Path(target)
    if target.suffix != '.npz':
        raise ValueError(f'{target}: the converted model is a .npz')
    if not source.is_file():
        raise FileNotFoundError(f'{source}: no such file; expected the one that was downloaded')
    sizes = identify(_read(source), source)
    convention = next((name for name, spec in BODY_MODELS.items() if (spec.vertices, spec.joints) == sizes), None)
    if convention is None:
        raise ValueError(f'{source}: holds {_describe(sizes)}, where MANO, FLAME or SMPL-X is expected')
    spec = BODY_MODELS[convention]
    content: dict[str, Any] = dict(read_body_model(source, convention))
    content['kintree_table'] = np.stack((spec.parents, range(spec.joints)))
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(target, **content)
    return f'{target}: {spec}'


def identify(content: Mapping[str, Any], path: Path) -> tuple[int, int]:
    """Return the numbers of vertices and joints of a file.

    Args:
        content: The file's arrays by name.
        path: The file, for messages.

    Raises:
        ValueError: ``v_template`` or ``kintree_table`` is missing or has another shape.
    """
    template = _array(content, 'v_template', (None, 3), path)
    return len(template), _array(content, 'kintree_table', (2, None), path).shape[1]


def _describe(sizes: tuple[int, int]) -> str:
    """Name the model with these numbers of vertices and joints."""
    for spec in BODY_MODELS.values():
        if (spec.vertices, spec.joints) == sizes:
            return str(spec)
    name = _OTHERS.get(sizes)
    counts = f'{sizes[0]} vertices, {sizes[1]} joints'
    return f'{name} ({counts})' if name else f'a model of {counts}'


def _existing(path: Path, source: str) -> Path:
    """Return ``path``, or the ``.npz`` beside it if only that exists."""
    for file in (path, path.with_suffix('.npz')):
        if file.is_file():
            return file
    raise FileNotFoundError(f'{path}: no such file. It is licensed: {source}; put it at {path}')


def _read(path: Path) -> Mapping[str, Any]:
    if path.suffix != '.npz':
        return read_pickle(path)
    try:
        # Entries are read when they are accessed: the official SMPL-X file also holds pickled dicts, which stay unread.
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f'{path}: not a readable .npz ({error})') from None


def _shapes(spec: BodyModelFile) -> dict[str, tuple[int | None, ...]]:
    """Return the expected shape of each array; None is any size."""
    vertices, joints = spec.vertices, spec.joints
    return dict(
        v_template=(vertices, 3),
        shapedirs=(vertices, 3, None),
        posedirs=(vertices, 3, 9 * (joints - 1)),
        J_regressor=(joints, vertices),
        weights=(vertices, joints),
        kintree_table=(2, joints),
        f=(spec.faces, 3),
        **dict.fromkeys(spec.hand_means, (45,)),
    )


def _array(
    content: Mapping[str, Any], name: str, shape: tuple[int | None, ...], path: Path, key: str = ''
) -> np.ndarray:
    """Return an array of a file as float32 or int64, checked for its shape and for finite values.

    ``key`` is the file's name of the array if it differs from ``name``, ours.
    """
    key = key or name
    if key not in content:
        raise ValueError(f'{path}: has no {key}; is it a whole body model?')
    try:
        array = as_array(content[key])
    except Exception as error:  # a forged state in a pickle; an entry of a .npz that is pickled or cut off
        raise ValueError(f'{path}: {key} is not readable ({type(error).__name__}: {error})') from None
    if array.dtype.kind not in 'fiu':
        raise ValueError(f'{path}: {key} holds {array.dtype}, where numbers are expected')
    if array.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
        expected = ' x '.join('any' if size is None else str(size) for size in shape)
        raise ValueError(f'{path}: {key} has shape {" x ".join(map(str, array.shape))}, where {expected} is expected')
    if not np.isfinite(array).all():
        raise ValueError(f'{path}: {key} holds NaN or infinite values')
    is_index = name in ('f', 'kintree_table') or name.endswith('faces_idx')
    return array.astype(np.int64 if is_index else np.float32)


def _check_indices(arrays: dict[str, np.ndarray], name: str, count: int, path: Path) -> None:
    if arrays[name].min() < 0 or arrays[name].max() >= count:
        raise ValueError(f'{path}: {name} holds indices outside 0 to {count - 1}')


def _check_right_hand(arrays: dict[str, np.ndarray], path: Path) -> None:
    """Refuse a left hand. MANO's right hand points to -x, its left hand to x; nothing else tells the files apart."""
    joints = arrays['J_regressor'] @ arrays['v_template']
    middle_finger = 4
    if joints[middle_finger, 0] > joints[0, 0]:
        raise ValueError(f'{path}: holds a left hand, where MANO_RIGHT is expected')


def _landmarks(content: Mapping[str, Any], spec: BodyModelFile, path: Path) -> dict[str, np.ndarray]:
    """Return faces and barycentric coordinates of the landmarks, from the model's file or from the two beside it."""
    shapes: dict[str, tuple[int, ...]] = dict(
        lmk_faces_idx=(NUM_LANDMARKS,),
        lmk_bary_coords=(NUM_LANDMARKS, 3),
        dynamic_lmk_faces_idx=CONTOUR_SHAPE,
        dynamic_lmk_bary_coords=(*CONTOUR_SHAPE, 3),
    )
    arrays = {}
    for file_name, keys in _EMBEDDINGS:
        file, source = path, content
        if not all(name in content for name in keys) and spec is BODY_MODELS['flame']:
            file = path.with_name(file_name)
            if not file.is_file():
                raise FileNotFoundError(f'{file}: no such file; {_EMBEDDINGS_SOURCE}, and put it at {file}')
            source = read_pickle(file)
        for name, key in keys.items():
            arrays[name] = _array(source, name, shapes[name], file, key='' if source is content else key)
            if name.endswith('faces_idx'):
                _check_indices(arrays, name, spec.faces, file)
    return arrays
