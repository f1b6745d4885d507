"""Reads and writes HumanData, MMHuman3D's ``.npz`` of images with boxes, key points and SMPL-X parameters.

The file stores the parameters as a pickled dict of arrays, which a reader that accepts only arrays unpickles.
"""

import functools
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from moganet.checkpoint.allowed import Refused
from moganet.io.files import atomic

from ..body_models.pickles import as_array, read_npy_dtype, unpickle
from ..models.conventions import NUM_HUMAN_DATA

# The parameters that are used, with their shape for one sample; None is the number of coefficients. In a file, vectors
# of a single rotation may lack the first axis.
PARAMETERS: dict[str, tuple[int | None, ...]] = dict(
    global_orient=(1, 3),
    body_pose=(21, 3),
    left_hand_pose=(15, 3),
    right_hand_pose=(15, 3),
    jaw_pose=(1, 3),
    betas=(None,),
    expression=(None,),
)
COLUMNS = dict(keypoints2d=3, keypoints3d=4)
REQUIRED = ('image_path', 'bbox_xywh')


class HumanData:
    """An open HumanData file, to be used in a ``with`` statement. Entries are read when they are accessed.

    All methods raise a ValueError of one line, which names the file, if an entry is missing or does not fit.

    Args:
        path: The file.

    Attributes:
        keys: Names of the file's entries.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is no ``.npz``, or lacks the paths or boxes of images.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f'{path}: no such file of HumanData; tools/convert_expose_data.py writes them')
        try:
            self._zip = zipfile.ZipFile(self.path)
        except (zipfile.BadZipFile, OSError) as error:
            raise ValueError(f'{path}: not a readable .npz ({error})') from None
        self.keys = frozenset(name.removesuffix('.npy') for name in self._zip.namelist())
        for key in REQUIRED:
            if key not in self.keys:
                self._zip.close()
                raise ValueError(
                    f'{path}: has no {key}, but {", ".join(sorted(self.keys)[:12]) or "nothing"}; is it HumanData?'
                )

    def __enter__(self) -> 'HumanData':
        return self

    def __exit__(self, *_: object) -> None:
        self._zip.close()

    @functools.cached_property
    def image_paths(self) -> list[str]:
        """Paths of the images below the folder of the data set."""
        return self.texts('image_path')

    def texts(self, key: str) -> list[str]:
        """Read an entry of one or more texts as a list.

        Raises:
            ValueError: The entry is missing, empty, or holds other values than texts.
        """
        value = self._read(key)
        values = value if isinstance(value, list) else np.atleast_1d(value).tolist()
        if not values or not all(type(item) is str for item in values):
            raise ValueError(f'{self.path}: {key} is no list of texts with at least one')
        return values

    @property
    def count(self) -> int:
        """Number of images."""
        return len(self.image_paths)

    def array(self, key: str, shape: Sequence[int | None]) -> np.ndarray:
        """Read an entry of finite numbers as float32.

        Args:
            key: Name of the entry.
            shape: Expected shape; None is any size.

        Raises:
            ValueError: The entry is missing, has another shape, or holds other values.
        """
        return self._checked(key, self._read(key), shape)

    def boxes(self) -> np.ndarray:
        """Read the boxes (N, 4): x, y, width, height in pixels. The scores of newer files are dropped.

        Raises:
            ValueError: The boxes have another shape, or one has no width or height.
        """
        boxes = self.array('bbox_xywh', (self.count, None))
        if boxes.shape[1] not in (4, 5):
            raise ValueError(f'{self.path}: bbox_xywh has {boxes.shape[1]} columns, where 4 or 5 are expected')
        flat = np.flatnonzero((boxes[:, 2:4] <= 0).any(1))
        if len(flat):
            box = boxes[flat[0], :4].tolist()
            raise ValueError(f'{self.path}: bbox_xywh of {self._place(flat[0])} has no width or height: {box}')
        return boxes[:, :4]

    def mask(self, key: str) -> np.ndarray:
        """Read the mask (190,) bool of the key points that the file has.

        Args:
            key: 'keypoints2d' or 'keypoints3d'.

        Raises:
            ValueError: The mask is missing or has another shape.
        """
        name = f'{key}_mask'
        mask = np.asarray(self._read(name)).astype(bool)
        if mask.shape != (NUM_HUMAN_DATA,):
            raise ValueError(
                f'{self.path}: {name} has shape {mask.shape}, where ({NUM_HUMAN_DATA},) of HumanData is expected'
            )
        return mask

    def keypoints(self, key: str, slots: Sequence[int]) -> np.ndarray:
        """Read some of the 190 key points. Those that the file lacks are zero, with confidence 0.

        Args:
            key: 'keypoints2d', with x and y in pixels and confidence, or 'keypoints3d', with x, y, z and confidence.
            slots: Indices of the wanted key points.

        Returns:
            (N, len(slots), 3 or 4) float32.

        Raises:
            ValueError: The file has another number of key points, or other values than finite numbers.
        """
        mask = self.mask(key)
        values = self.array(key, (self.count, None, COLUMNS[key]))
        # Compressed files store only the key points of the mask.
        compressed = '__keypoints_compressed__' in self.keys and bool(self._read('__keypoints_compressed__'))
        expected = int(mask.sum()) if compressed else NUM_HUMAN_DATA
        if values.shape[1] != expected:
            reason = f'as marked by {key}_mask' if compressed else 'those of HumanData'
            number = values.shape[1]
            raise ValueError(f'{self.path}: {key} holds {number} joints, where {expected}, {reason}, are expected')
        wanted = np.asarray(slots, dtype=int)
        columns = np.cumsum(mask) - 1 if compressed else np.arange(NUM_HUMAN_DATA)
        present = mask[wanted]
        result = np.zeros((len(values), len(wanted), COLUMNS[key]), np.float32)
        result[:, present] = values[:, columns[wanted[present]]]
        return result

    def parameters(self) -> dict[str, np.ndarray]:
        """Read the entries of ``PARAMETERS`` that the file has, (N, *shape) each.

        They are axis-angle vectors in radians and coefficients.

        Raises:
            ValueError: The entry is no dict of arrays, or an array has another shape or holds NaN.
        """
        if 'smplx' not in self.keys:
            return {}
        content = self._read('smplx')
        content = content[0] if isinstance(content, list) and len(content) == 1 else content
        if not isinstance(content, dict):
            raise ValueError(f'{self.path}: smplx holds {type(content).__name__}, where a dict of arrays is expected')
        result = {}
        for name, shape in PARAMETERS.items():
            if content.get(name) is None:
                continue
            values = self._array(f'smplx.{name}', content[name])
            if shape == (1, 3) and values.ndim == 2:
                values = values[:, None]
            result[name] = self._checked(f'smplx.{name}', values, (self.count, *shape))
        return result

    def objects(self, key: str, shape: Sequence[int | None]) -> list[np.ndarray]:
        """Read an entry with one array for each image, as MMHuman3D stores scans.

        A single array of all images is accepted too.

        Args:
            key: Name of the entry.
            shape: Expected shape of each array; None is any size.

        Returns:
            A list of N arrays in float32.

        Raises:
            ValueError: The entry has another number of arrays, or one has another shape or holds NaN.
        """
        values = self._read(key)
        if isinstance(values, np.ndarray):
            return list(self._checked(key, values, (self.count, *shape)))
        if len(values) != self.count:
            raise ValueError(f'{self.path}: {key} holds {len(values)} entries for {self.count} images')
        return [self._checked(key, self._array(key, value), shape) for value in values]

    def _read(self, key: str) -> Any:
        """Read an entry as an array, or as a list if it is an array of objects."""
        if key not in self.keys:
            raise ValueError(f'{self.path}: has no {key}')
        member = f'{key}.npy'
        try:
            with self._zip.open(member) as file:
                if read_npy_dtype(file) == np.dtype(object):
                    return unpickle(file)
            with self._zip.open(member) as file:
                return np.lib.format.read_array(file, allow_pickle=False)
        except Refused as error:
            raise ValueError(f'{self.path}: {key} is not read, as it asks for {error}') from None
        except Exception as error:  # a damaged or forged file may raise anything
            reason = ' '.join(str(error).split())
            raise ValueError(f'{self.path}: {key} is not readable ({type(error).__name__}: {reason})') from None

    def _array(self, key: str, value: Any) -> np.ndarray:
        try:
            return as_array(value)
        except Exception as error:  # a forged state in a pickle
            raise ValueError(f'{self.path}: {key} is not readable ({type(error).__name__}: {error})') from None

    def _checked(self, key: str, values: np.ndarray, shape: Sequence[int | None]) -> np.ndarray:
        if values.dtype.kind not in 'fiub':
            raise ValueError(f'{self.path}: {key} holds {values.dtype}, where numbers are expected')
        if values.ndim != len(shape) or any(
            want not in (None, have) for want, have in zip(shape, values.shape, strict=True)
        ):
            wanted = ' x '.join('any' if size is None else str(size) for size in shape)
            actual = ' x '.join(map(str, values.shape))
            raise ValueError(f'{self.path}: {key} has shape {actual}, where {wanted} is expected')
        finite = np.isfinite(values).reshape(len(values), -1).all(1)
        if not finite.all():
            place = f', first for {self._place(int(finite.argmin()))}' if len(finite) == self.count else ''
            raise ValueError(f'{self.path}: {key} holds NaN or infinite values{place}')
        return values.astype(np.float32)

    def _place(self, index: int) -> str:
        return f'sample {index} ({self.image_paths[index]})'


def write_human_data(
    path: str | Path,
    image_path: Sequence[str],
    bbox_xywh: np.ndarray,
    slots: Sequence[int] = (),
    keypoints2d: np.ndarray | None = None,
    keypoints3d: np.ndarray | None = None,
    smplx: dict[str, np.ndarray] | None = None,
    **extra: np.ndarray | str,
) -> None:
    """Write a HumanData file, which MMHuman3D can read too. It appears whole or not at all.

    Only the key points of ``slots`` are stored (HumanData's compressed form).

    Args:
        path: The file; its folder is created.
        image_path: N paths below the folder of the data set.
        bbox_xywh: (N, 4) x, y, width, height in pixels.
        slots: Indices of the given key points among HumanData's 190, such as ``HAND_SLOTS``.
        keypoints2d: (N, len(slots), 3) x, y in pixels and confidence.
        keypoints3d: (N, len(slots), 4) x, y, z in metres and confidence.
        smplx: Arrays (N, ...) by the names of ``PARAMETERS``.
        extra: Further entries, which MMHuman3D ignores.

    Raises:
        ValueError: An array has another shape.
    """
    path = Path(path)
    count, order = len(image_path), np.argsort(slots)
    boxes = np.concatenate((_shaped(path, 'bbox_xywh', bbox_xywh, (count, 4)), np.ones((count, 1), np.float32)), 1)
    content = dict(
        __data_len__=count,
        __key_strict__=False,
        __keypoints_compressed__=bool(len(slots)),
        image_path=np.array(image_path),
        bbox_xywh=boxes,
        **extra,
    )
    mask = np.zeros(NUM_HUMAN_DATA, np.uint8)
    mask[list(slots)] = 1
    points = dict(keypoints2d=keypoints2d, keypoints3d=keypoints3d)
    for key, values in points.items():
        if values is not None:
            content[key] = _shaped(path, key, values, (count, len(slots), COLUMNS[key]))[:, order]
            content[f'{key}_mask'] = mask
    if smplx:
        arrays = {name: _shaped(path, f'smplx.{name}', values, (count, ...)) for name, values in smplx.items()}
        content['smplx'] = np.array(arrays, object)
    write_npz(path, content)


def _shaped(path: Path, key: str, values: np.ndarray, shape: tuple) -> np.ndarray:
    values = np.asarray(values, np.float32)
    found = (*values.shape[: len(shape) - 1], ...) if shape[-1] is ... else values.shape
    if found != shape:
        wanted = ' x '.join('any' if size is ... else str(size) for size in shape)
        raise ValueError(f'{path}: {key} to be written has shape {values.shape}, where {wanted} is expected')
    return values


def write_npz(path: Path, content: dict[str, Any]) -> None:
    """Write a compressed ``.npz`` file, which appears whole or not at all.

    Args:
        path: The file; its folder is created.
        content: Arrays and numbers by name. An object array is pickled.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial, partial.open('wb') as file:
        np.savez_compressed(file, **content)
