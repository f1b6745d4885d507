"""Fits of FLAME to FFHQ's faces (RingNet, then landmarks), as MMHuman3D and ExPose publish them."""

from pathlib import Path

import numpy as np

from moganet.io.readable import require_files

from ...models.conventions import FLAME_SLOTS
from ..human_data import write_human_data

FILES = ('ffhq_flame_train.npz', 'ffhq_flame_val.npz')
ANNOTATIONS = 'ffhq_annotations.npz'
IMAGES = 'ffhq_global_images_1024'
TRAIN_SHARE = 0.8
# Our names, and the keys of the file.
PARAMETERS = dict(global_orient='global_pose', jaw_pose='jaw_pose', betas='betas', expression='expression')


def convert(source: str | Path, out: str | Path, image_size: int = 1024) -> str:
    """Write ``FILES``: the first 80 % of the images for training, the others for validation.

    Args:
        source: Folder with ffhq_annotations.npz and ffhq_global_images_1024/.
        out: Folder of the files to write.
        image_size: Height and width of the images in pixels; the file's key points refer to these pixels.

    Returns:
        A summary, a line for each file.

    Raises:
        FileNotFoundError: The file or an image does not exist.
        ValueError: The file lacks a key, an array does not fit, or there are too few images.
    """
    source, out = Path(source), Path(out)
    path = source / ANNOTATIONS
    names, points, parameters = _read(path)
    images = [f'{IMAGES}/{name}' for name in names]
    require_files([str(source / image) for image in images], str(path))
    first = int(TRAIN_SHARE * len(images))
    if not first:
        raise ValueError(f'{path}: {len(images)} images are too few to be split')
    lines = []
    for name, rows in zip(FILES, (slice(first), slice(first, None)), strict=True):
        count = len(images[rows])
        write_human_data(
            out / name,
            images[rows],
            np.tile((0, 0, image_size, image_size), (count, 1)),
            slots=FLAME_SLOTS,
            keypoints2d=points[rows],
            smplx={key: values[rows] for key, values in parameters.items()},
            config=np.array('ffhq'),
        )
        lines.append(f'{out / name}: {count} images')
    return '\n'.join(lines)


def _read(path: Path) -> tuple[list[str], np.ndarray, dict[str, np.ndarray]]:
    """Return the names of the images, key points (N, 73, 3) with confidences, and parameters (N, ...) by name."""
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file; it is published with MMHuman3D, and with ExPose')
    try:
        with np.load(path, allow_pickle=False) as archive:
            content = dict(archive)
    except Exception as error:  # a damaged file may raise anything
        raise ValueError(f'{path}: not a readable .npz of arrays ({error})') from None
    if 'keypoints2D' in content:
        content['keypoints2d'] = content.pop('keypoints2D')
    for key in ('img_fnames', 'keypoints2d', *PARAMETERS.values()):
        if key not in content:
            raise ValueError(f'{path}: has no {key}, but {", ".join(sorted(content)) or "nothing"}')
    names = content['img_fnames'].astype(str).tolist()
    count = len(names)
    points = _array(content, 'keypoints2d', path)
    if points.shape[:-1] != (count, len(FLAME_SLOTS)) or points.shape[-1] not in (2, 3):
        raise ValueError(
            f'{path}: keypoints2d has shape {points.shape}, where ({count}, {len(FLAME_SLOTS)}, 2 or 3) is expected'
        )
    if points.shape[-1] == 2:
        points = np.concatenate((points, np.ones((*points.shape[:2], 1))), -1)
    parameters = {}
    for name, key in PARAMETERS.items():
        values = _array(content, key, path)
        values = values.reshape(len(values), -1)
        if len(values) != count or (name.endswith(('orient', 'pose')) and values.shape[1] != 3):
            raise ValueError(f'{path}: {key} has shape {content[key].shape}, for {count} images')
        parameters[name] = values
    return names, points, parameters


def _array(content: dict[str, np.ndarray], key: str, path: Path) -> np.ndarray:
    values = content[key]
    if values.dtype.kind not in 'fiu' or not values.ndim:
        raise ValueError(f'{path}: {key} holds {values.dtype}, where arrays of numbers are expected')
    finite = np.isfinite(values).reshape(len(values), -1).all(1)
    if not finite.all():
        raise ValueError(f'{path}: {key} holds NaN or infinite values, first for sample {int(finite.argmin())}')
    return values
