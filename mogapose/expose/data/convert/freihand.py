"""FreiHAND (Zimmermann et al., ICCV 2019): right hands in front of a green screen, and with three other backgrounds."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from moganet.io.readable import require_files

from ...body_models.layers import MANO
from ...body_models.pickles import as_array, read_pickle
from ...models.conventions import HAND_SLOTS
from ...models.rotation import axis_angle_to_matrix
from ..human_data import write_human_data

FILES = ('freihand_train.npz', 'freihand_val.npz', 'freihand_test.npz')
SPLITS = ('pose', 'mmhuman3d')
IMAGE_SIZE = 224
VERSIONS = 4  # of each training image: image i has the annotation i modulo their number
TRAIN_SHARE = 0.8
SHAPES = dict(K=(3, 3), mano=(61,), xyz=(21, 3), verts=(778, 3))
TOLERANCE = 1.0  # mm
CHUNK = 1 << 22


def convert(
    source: str | Path,
    out: str | Path,
    split: str = 'pose',
    body_model: str | Path = 'data/body_models/mano/MANO_RIGHT.pkl',
    mean_pose: str | Path | None = None,
) -> str:
    """Write ``FILES`` to ``out``. Returns a summary.

    FreiHAND's finger poses are relative to MANO's mean pose, which is added. MANO on the result is compared with the
    data set's own vertices, after the wrists are brought together.

    Args:
        source: Folder with training_*.json, evaluation_*.json and training/rgb, evaluation/rgb.
        split: 'pose' trains on the first 80 % of the poses in all their versions and validates on the others;
            'mmhuman3d' cuts the list of all images, so that every pose of its validation is also trained on.
        body_model: MANO_RIGHT.
        mean_pose: all_means.pkl, for the mean pose without a body model. Then nothing is compared.

    Raises:
        FileNotFoundError: A file is missing.
        ValueError: One does not fit, or MANO's vertices are more than a millimetre from the data set's.
    """
    source, out = Path(source), Path(out)
    if split not in SPLITS:
        raise ValueError(f'split={split!r}: expected {" or ".join(SPLITS)}')
    mano = None if mean_pose else MANO(body_model)
    mean = _read_mean(Path(mean_pose)) if mano is None else mano.hands_mean.numpy()
    lines, files = [], []
    for name in ('evaluation', 'training'):  # the smaller first: what does not fit shows sooner
        found = _read(source, name)
        poses = len(found['xyz'])
        parts = split_rows(split, poses) if name == 'training' else dict(test=np.arange(poses))
        if not all(len(rows) for rows in parts.values()):
            raise ValueError(f'{source}: {poses} poses are too few to be split')
        images = {part: [f'{name}/rgb/{row:08d}.jpg' for row in rows] for part, rows in parts.items()}
        require_files([str(source / path) for paths in images.values() for path in paths], f'{name}_xyz.json')
        parameters = _parameters(found['mano'], mean)
        note = 'not compared with a body model'
        if mano is not None:
            worst = _compare(mano, parameters, found, source / f'{name}_verts.json')
            note = f'MANO is within {worst:.3f} mm of {name}_verts.json'
        for part, rows in parts.items():
            files.append((out / f'freihand_{part}.npz', images[part], rows % poses, found, parameters))
            lines.append(f'{files[-1][0]}: {len(rows)} images of {len(np.unique(rows % poses))} poses; {note}')
    for file in files:  # once all of it fits
        _write(*file)
    return '\n'.join(lines)


def split_rows(split: str, poses: int) -> dict[str, np.ndarray]:
    """Numbers of the images to train on and to validate on, of ``VERSIONS`` times ``poses``."""
    rows = np.arange(VERSIONS * poses)
    if split == 'pose':
        first = rows % poses < int(TRAIN_SHARE * poses)
    else:
        first = rows < int(TRAIN_SHARE * len(rows))
    return dict(train=rows[first], val=rows[~first])


def _read(source: Path, name: str) -> dict[str, np.ndarray]:
    found = {key: _numbers(source / f'{name}_{key}.json', shape) for key, shape in SHAPES.items()}
    for key, values in found.items():
        if len(values) != len(found['xyz']):
            raise ValueError(
                f'{source / f"{name}_{key}.json"}: holds {len(values)} samples, {name}_xyz.json {len(found["xyz"])}'
            )
    return found


def _numbers(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """A json of nested lists as (N, *shape), read piece by piece: the training vertices are 1.5 GB of text."""
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such file; FreiHAND comes as two archives, of training and of evaluation with annotations'
        )
    parts, rest = [], ''
    brackets = str.maketrans('', '', '[] \r\n\t')
    try:
        with open(path, encoding='ascii') as file, warnings.catch_warnings():
            warnings.simplefilter('error')  # numpy only warns of what is no number
            while text := file.read(CHUNK):
                whole, comma, rest = (rest + text.translate(brackets)).rpartition(',')
                if comma:
                    parts.append(np.fromstring(whole, np.float64, sep=','))
            if rest:
                parts.append(np.fromstring(rest, np.float64, sep=','))
    except (ValueError, DeprecationWarning) as error:
        raise ValueError(f'{path}: no json of numbers ({error})') from None
    values = np.concatenate((np.zeros(0), *parts))
    size = int(np.prod(shape))
    if not len(values) or len(values) % size:
        raise ValueError(f'{path}: holds {len(values)} numbers, where a multiple of {size} is expected')
    values = values.reshape(-1, *shape)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values).reshape(len(values), -1).all(1)).argmax())
        raise ValueError(f'{path}: holds NaN or infinite values, first for sample {bad}')
    return values


def _read_mean(path: Path) -> np.ndarray:
    """The mean pose (15, 3) of the right hand in ExPose's all_means.pkl."""
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file of mean poses')
    try:
        mean = as_array(read_pickle(path)['right_hand_pose']['aa'])
        return mean.astype(np.float32).reshape(15, 3)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f'{path}: has no right_hand_pose with aa, as all_means.pkl has ({error})') from None


def _parameters(mano: np.ndarray, mean: np.ndarray) -> dict[str, np.ndarray]:
    """MANO's parameters (N, 61) by name, finger poses absolute. Root position and scale are left out."""
    pose = mano[:, :48].reshape(-1, 16, 3)
    return dict(
        global_orient=pose[:, :1].astype(np.float32),
        right_hand_pose=(pose[:, 1:] + mean).astype(np.float32),
        betas=mano[:, 48:58].astype(np.float32),
    )


@torch.no_grad()
def _compare(mano: MANO, parameters: dict[str, np.ndarray], found: dict[str, np.ndarray], path: Path) -> float:
    """The largest distance in mm of MANO's vertices from the data set's, wrist on wrist."""
    worst = []
    for first in range(0, len(found['verts']), 256):
        rows = slice(first, first + 256)
        tensors = {name: torch.from_numpy(values[rows]) for name, values in parameters.items()}
        posed = mano(
            axis_angle_to_matrix(tensors['global_orient']),
            betas=tensors['betas'],
            right_hand_pose=axis_angle_to_matrix(tensors['right_hand_pose']),
        )
        ours = (posed['vertices'] - posed['joints'][:, :1]).double()
        theirs = torch.from_numpy(found['verts'][rows] - found['xyz'][rows, :1])
        worst.append((ours - theirs).norm(dim=-1).amax(-1))
    distances = 1000 * torch.cat(worst)
    over = int((distances > TOLERANCE).sum())
    if over:
        raise ValueError(
            f'{path}: MANO is up to {distances.max():.1f} mm from these vertices, more than {TOLERANCE:g} mm for '
            f'{over} of {len(distances)} samples: is the body model another one than FreiHAND used?'
        )
    return float(distances.max())


def _write(
    path: Path, images: list[str], row: np.ndarray, found: dict[str, np.ndarray], parameters: dict[str, np.ndarray]
) -> None:
    projected = np.einsum('nij,nkj->nki', found['K'], found['xyz'])
    ones = np.ones((*projected.shape[:2], 1))
    write_human_data(
        path,
        images,
        np.tile((0, 0, IMAGE_SIZE, IMAGE_SIZE), (len(images), 1)),
        slots=HAND_SLOTS,
        keypoints2d=np.concatenate((projected[..., :2] / projected[..., 2:], ones), -1)[row],
        keypoints3d=np.concatenate((found['xyz'], ones), -1)[row],
        smplx={key: values[row] for key, values in parameters.items()},
        config=np.array('freihand'),
        **({} if path.name == FILES[0] else _truth(found['verts'], row)),
    )


def _truth(vertices: np.ndarray, row: Sequence[int]) -> dict[str, np.ndarray]:
    """Vertices to compare with, one copy for all versions of a pose."""
    used, index = np.unique(row, return_inverse=True)
    return dict(gt_vertices=vertices[used].astype(np.float32), gt_index=index)
