"""MANO, FLAME and SMPL-X files: which there are, where to get them, what they must hold.

The models are licensed to persons and not to be passed on: nothing here comes with one.
"""

import zipfile
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
    """What a file of one model holds.

    Args:
        columns: Numbers of blend shapes that are known: shape and expression each.
        hand_means: Keys of mean hand poses, 45 numbers each.
        source: Where a licensed user finds the file, for the error when it is missing.
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
# Only named when one of them lies where another model is expected: vertices, joints.
_OTHERS = {(6890, 24): 'SMPL', (6890, 52): 'SMPL+H or MANO with a body'}

NUM_LANDMARKS = 51
CONTOUR_SHAPE = (79, 17)
# FLAME's landmarks come as two files of their own: their names, and those of their arrays here and there.
_EMBEDDINGS = (
    ('flame_static_embedding.pkl', dict(lmk_faces_idx='lmk_face_idx', lmk_bary_coords='lmk_b_coords')),
    ('flame_dynamic_embedding.npy', dict(dynamic_lmk_faces_idx='lmk_face_idx', dynamic_lmk_bary_coords='lmk_b_coords')),
)
_EMBEDDINGS_SOURCE = 'take it from the folder flame_model of https://github.com/soubhiksanyal/RingNet'


def read_body_model(path: str | Path, kind: str) -> dict[str, np.ndarray]:
    """The checked arrays of a body model: float32, int64, dense, named as in SMPL-X's file.

    A ``.npz`` of the same name is taken where the ``.pkl`` is missing. FLAME's landmark files lie beside it.

    Args:
        kind: mano, flame or smplx.

    Raises:
        FileNotFoundError: Says where to get the file and where to put it.
        ValueError: Another model, another size, a missing key, NaN; one line that names the file.
    """
    path, expected = _existing(Path(path), BODY_MODELS[kind].source), BODY_MODELS[kind]
    content = _read(path)
    found = identify(content, path)
    if found != (expected.vertices, expected.joints):
        raise ValueError(f'{path}: holds {_describe(found)}, where {expected} is expected')
    arrays = {name: _array(content, name, shape, path) for name, shape in _shapes(expected).items()}
    columns = arrays['shapedirs'].shape[-1]
    if columns not in map(sum, expected.columns):
        counts = ' or '.join(f'{shape} + {expression}' for shape, expression in expected.columns)
        raise ValueError(f'{path}: shapedirs has {columns} columns, where {counts} (shape + expression) are expected')
    parents = arrays.pop('kintree_table')[0]
    if tuple(parents[1:]) != expected.parents[1:]:
        raise ValueError(f'{path}: kintree_table is not that of {expected.title}')
    _check_indices(arrays, 'f', expected.vertices, path)
    if kind == 'mano':
        _check_right_hand(arrays, path)
    if expected.landmarks:
        arrays.update(_landmarks(content, expected, path))
    return arrays


def convert(source: str | Path, target: str | Path) -> str:
    """Write any of the official files as a plain ``.npz``, FLAME with its landmarks. Returns a summary."""
    source, target = Path(source), Path(target)
    if target.suffix != '.npz':
        raise ValueError(f'{target}: the converted model is a .npz')
    if not source.is_file():
        raise FileNotFoundError(f'{source}: no such file; expected the one that was downloaded')
    found = identify(_read(source), source)
    kinds = [name for name, kind in BODY_MODELS.items() if (kind.vertices, kind.joints) == found]
    if not kinds:
        raise ValueError(f'{source}: holds {_describe(found)}, where MANO, FLAME or SMPL-X is expected')
    kind = BODY_MODELS[kinds[0]]
    arrays = read_body_model(source, kinds[0])
    target.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(target, **arrays, kintree_table=np.stack((kind.parents, range(kind.joints))))
    return f'{target}: {kind}'


def identify(content: dict[str, Any], path: Path) -> tuple[int, int]:
    """Numbers of vertices and joints of a file's content."""
    return _array(content, 'v_template', (None, 3), path).shape[0], _array(
        content, 'kintree_table', (2, None), path
    ).shape[1]


def _describe(found: tuple[int, int]) -> str:
    for kind in BODY_MODELS.values():
        if (kind.vertices, kind.joints) == found:
            return str(kind)
    name = _OTHERS.get(found)
    sizes = f'{found[0]} vertices, {found[1]} joints'
    return f'{name} ({sizes})' if name else f'a model of {sizes}'


def _existing(path: Path, source: str) -> Path:
    converted = path.with_suffix('.npz')
    if path.is_file() or not converted.is_file():
        if not path.is_file():
            raise FileNotFoundError(f'{path}: no such file. It is licensed: {source}; put it at {path}')
        return path
    return converted


def _read(path: Path) -> dict[str, Any]:
    if path.suffix != '.npz':
        return read_pickle(path)
    try:
        # Read one by one when asked for: the official SMPL-X file also holds pickled dicts, which nobody needs.
        return np.load(path, allow_pickle=False)
    except (ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ValueError(f'{path}: not a readable .npz ({error})') from None


def _shapes(kind: BodyModelFile) -> dict[str, tuple[int | None, ...]]:
    vertices, joints = kind.vertices, kind.joints
    return dict(
        v_template=(vertices, 3),
        shapedirs=(vertices, 3, None),
        posedirs=(vertices, 3, 9 * (joints - 1)),
        J_regressor=(joints, vertices),
        weights=(vertices, joints),
        kintree_table=(2, joints),
        f=(kind.faces, 3),
        **dict.fromkeys(kind.hand_means, (45,)),
    )


def _array(content: dict[str, Any], name: str, shape: tuple[int | None, ...], path: Path, key: str = '') -> np.ndarray:
    """One array of a file, as float32 or int64, of the expected shape and finite."""
    key = key or name
    if key not in content:
        raise ValueError(f'{path}: has no {key}; is it a whole body model?')
    try:
        array = as_array(content[key])
    except Exception as error:  # state that a pickle made up, an entry of a .npz that is pickled or cut off
        raise ValueError(f'{path}: {key} is not readable ({type(error).__name__}: {error})') from None
    if array.dtype.kind not in 'fiu':
        raise ValueError(f'{path}: {key} holds {array.dtype}, where numbers are expected')
    if array.ndim != len(shape) or any(want not in (None, have) for want, have in zip(shape, array.shape, strict=True)):
        expected = ' x '.join('any' if size is None else str(size) for size in shape)
        raise ValueError(f'{path}: {key} has shape {" x ".join(map(str, array.shape))}, where {expected} is expected')
    if not np.isfinite(array).all():
        raise ValueError(f'{path}: {key} holds NaN or infinite values')
    whole = name in ('f', 'kintree_table') or name.endswith('faces_idx')
    return array.astype(np.int64 if whole else np.float32)


def _check_indices(arrays: dict[str, np.ndarray], name: str, count: int, path: Path) -> None:
    if arrays[name].min() < 0 or arrays[name].max() >= count:
        raise ValueError(f'{path}: {name} holds indices outside 0 to {count - 1}')


def _check_right_hand(arrays: dict[str, np.ndarray], path: Path) -> None:
    """MANO's right hand points to -x, its left hand to x; all else about the two files is alike."""
    joints = arrays['J_regressor'] @ arrays['v_template']
    middle_finger = 4
    if joints[middle_finger, 0] > joints[0, 0]:
        raise ValueError(f'{path}: holds a left hand, where MANO_RIGHT is expected')


def _landmarks(content: dict[str, Any], kind: BodyModelFile, path: Path) -> dict[str, np.ndarray]:
    """Faces and barycentric coordinates of the landmarks, from the model's file or from the two beside it."""
    shapes = dict(
        lmk_faces_idx=(NUM_LANDMARKS,),
        lmk_bary_coords=(NUM_LANDMARKS, 3),
        dynamic_lmk_faces_idx=CONTOUR_SHAPE,
        dynamic_lmk_bary_coords=(*CONTOUR_SHAPE, 3),
    )
    arrays = {}
    for file_name, keys in _EMBEDDINGS:
        file, source = path, content
        if not all(name in content for name in keys) and kind is BODY_MODELS['flame']:
            file = path.with_name(file_name)
            if not file.is_file():
                raise FileNotFoundError(f'{file}: no such file; {_EMBEDDINGS_SOURCE}, and put it at {file}')
            source = read_pickle(file)
        for name, key in keys.items():
            arrays[name] = _array(source, name, shapes[name], file, key='' if source is content else key)
            if name.endswith('faces_idx'):
                _check_indices(arrays, name, kind.faces, file)
    return arrays
