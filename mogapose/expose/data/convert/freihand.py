"""FreiHAND (Zimmermann et al., ICCV 2019): right hands in front of a green screen, each also on three backgrounds."""

import warnings
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
VERSIONS = 4  # of each training image: image i has the annotation i modulo the number of poses
TRAIN_SHARE = 0.8
SHAPES: dict[str, tuple[int, ...]] = dict(K=(3, 3), mano=(61,), xyz=(21, 3), verts=(778, 3))
TOLERANCE = 1.0  # mm
CHUNK = 1 << 22  # characters of json that are parsed at once


def convert(
    source: str | Path,
    out: str | Path,
    split: str = 'pose',
    body_model: str | Path = 'data/body_models/mano/MANO_RIGHT.pkl',
    mean_pose: str | Path | None = None,
) -> str:
    """Write ``FILES``.

    FreiHAND's finger poses are relative to MANO's mean pose, which is added. The vertices that MANO computes from the
    result are compared with those of the data set, relative to the wrist.

    Args:
        source: Folder with training_*.json, evaluation_*.json and training/rgb, evaluation/rgb.
        out: Folder of the files to write.
        split: 'pose' puts the first 80 % of the poses in all their versions into the training set and the others into
            the validation set. 'mmhuman3d' cuts the list of all images, so that each pose of the validation set is also
            in the training set.
        body_model: File of MANO's right hand.
        mean_pose: ExPose's all_means.pkl, which gives the mean pose without a body model. Then nothing is compared.

    Returns:
        A summary, a line for each file.

    Raises:
        FileNotFoundError: A file does not exist.
        ValueError: A file does not fit, or MANO's vertices differ from those of the data set by more than a millimetre.
    """
    source, out = Path(source), Path(out)
    if split not in SPLITS:
        raise ValueError(f'split={split!r}: expected {" or ".join(SPLITS)}')
    mano: MANO | None = None
    if mean_pose:
        mean = _read_mean(Path(mean_pose))
    else:
        mano = MANO(body_model)
        mean = mano.hands_mean.numpy()
    lines, files = [], []
    for name in ('evaluation', 'training'):  # the smaller one first, so that an error shows sooner
        annotations = _read(source, name)
        poses = len(annotations['xyz'])
        subsets = split_rows(split, poses) if name == 'training' else dict(test=np.arange(poses))
        if not all(len(rows) for rows in subsets.values()):
            raise ValueError(f'{source}: {poses} poses are too few to be split')
        images = {subset: [f'{name}/rgb/{row:08d}.jpg' for row in rows] for subset, rows in subsets.items()}
        require_files([str(source / path) for paths in images.values() for path in paths], f'{name}_xyz.json')
        parameters = _parameters(annotations['mano'], mean)
        note = 'not compared with a body model'
        if mano is not None:
            distance = _compare(mano, parameters, annotations, source / f'{name}_verts.json')
            note = f'MANO is within {distance:.3f} mm of {name}_verts.json'
        for subset, rows in subsets.items():
            files.append((out / f'freihand_{subset}.npz', images[subset], rows % poses, annotations, parameters))
            lines.append(f'{files[-1][0]}: {len(rows)} images of {len(np.unique(rows % poses))} poses; {note}')
    for file in files:  # written only after everything is checked
        _write(*file)
    return '\n'.join(lines)


def split_rows(split: str, poses: int) -> dict[str, np.ndarray]:
    """Split the ``VERSIONS`` times ``poses`` training images into training and validation set.

    Args:
        split: 'pose' or 'mmhuman3d', see ``convert``.
        poses: Number of poses.

    Returns:
        ``train`` and ``val``, the indices of their images.
    """
    rows = np.arange(VERSIONS * poses)
    index, total = (rows % poses, poses) if split == 'pose' else (rows, len(rows))
    first = index < int(TRAIN_SHARE * total)
    return dict(train=rows[first], val=rows[~first])


def _read(source: Path, name: str) -> dict[str, np.ndarray]:
    """Return the annotations of a set, arrays (N, ...) by the keys of ``SHAPES``."""
    annotations = {key: _numbers(source / f'{name}_{key}.json', shape) for key, shape in SHAPES.items()}
    count = len(annotations['xyz'])
    for key, values in annotations.items():
        if len(values) != count:
            raise ValueError(f'{source / f"{name}_{key}.json"}: holds {len(values)} samples, {name}_xyz.json {count}')
    return annotations


def _numbers(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """Read a json of nested lists as (N, *shape), chunk by chunk: the training vertices are 1.5 GB of text."""
    if not path.is_file():
        raise FileNotFoundError(
            f'{path}: no such file; FreiHAND comes as two archives, of training and of evaluation with annotations'
        )
    chunks, rest = [], ''
    brackets = str.maketrans('', '', '[] \r\n\t')
    try:
        with open(path, encoding='ascii') as file, warnings.catch_warnings():
            warnings.simplefilter('error')  # numpy only warns of text that is no number
            while text := file.read(CHUNK):
                complete, comma, rest = (rest + text.translate(brackets)).rpartition(',')
                if comma:
                    chunks.append(np.fromstring(complete, np.float64, sep=','))
            if rest:
                chunks.append(np.fromstring(rest, np.float64, sep=','))
    except (ValueError, DeprecationWarning) as error:
        raise ValueError(f'{path}: no json of numbers ({error})') from None
    values = np.concatenate((np.zeros(0), *chunks))
    size = int(np.prod(shape))
    if not len(values) or len(values) % size:
        raise ValueError(f'{path}: holds {len(values)} numbers, where a multiple of {size} is expected')
    values = values.reshape(-1, *shape)
    if not np.isfinite(values).all():
        bad = int((~np.isfinite(values).reshape(len(values), -1).all(1)).argmax())
        raise ValueError(f'{path}: holds NaN or infinite values, first for sample {bad}')
    return values


def _read_mean(path: Path) -> np.ndarray:
    """Return the mean pose (15, 3) of the right hand in ExPose's all_means.pkl, axis-angle."""
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file of mean poses')
    try:
        mean = as_array(read_pickle(path)['right_hand_pose']['aa'])
        return mean.astype(np.float32).reshape(15, 3)
    except (KeyError, TypeError, IndexError) as error:
        raise ValueError(f'{path}: has no right_hand_pose with aa, as all_means.pkl has ({error})') from None


def _parameters(mano: np.ndarray, mean: np.ndarray) -> dict[str, np.ndarray]:
    """Split MANO's parameters (N, 61) by name, with absolute finger poses. Root position and scale are dropped."""
    pose = mano[:, :48].reshape(-1, 16, 3)
    return dict(
        global_orient=pose[:, :1].astype(np.float32),
        right_hand_pose=(pose[:, 1:] + mean).astype(np.float32),
        betas=mano[:, 48:58].astype(np.float32),
    )


@torch.no_grad()
def _compare(mano: MANO, parameters: dict[str, np.ndarray], annotations: dict[str, np.ndarray], path: Path) -> float:
    """Return the largest distance in mm between MANO's vertices and those of the data set, relative to the wrist."""
    largest = []
    for first in range(0, len(annotations['verts']), 256):
        rows = slice(first, first + 256)
        tensors = {name: torch.from_numpy(values[rows]) for name, values in parameters.items()}
        posed = mano(
            axis_angle_to_matrix(tensors['global_orient']),
            betas=tensors['betas'],
            right_hand_pose=axis_angle_to_matrix(tensors['right_hand_pose']),
        )
        ours = (posed['vertices'] - posed['joints'][:, :1]).double()
        theirs = torch.from_numpy(annotations['verts'][rows] - annotations['xyz'][rows, :1])
        largest.append((ours - theirs).norm(dim=-1).amax(-1))
    distances = 1000 * torch.cat(largest)
    over = int((distances > TOLERANCE).sum())
    if over:
        raise ValueError(
            f'{path}: MANO is up to {distances.max():.1f} mm from these vertices, more than {TOLERANCE:g} mm for '
            f'{over} of {len(distances)} samples: is the body model another one than FreiHAND used?'
        )
    return float(distances.max())


def _write(
    path: Path,
    images: list[str],
    row: np.ndarray,
    annotations: dict[str, np.ndarray],
    parameters: dict[str, np.ndarray],
) -> None:
    """Write the file of a subset, whose images have the annotations ``row``."""
    projected = np.einsum('nij,nkj->nki', annotations['K'], annotations['xyz'])
    ones = np.ones((*projected.shape[:2], 1))
    write_human_data(
        path,
        images,
        np.tile((0, 0, IMAGE_SIZE, IMAGE_SIZE), (len(images), 1)),
        slots=HAND_SLOTS,
        keypoints2d=np.concatenate((projected[..., :2] / projected[..., 2:], ones), -1)[row],
        keypoints3d=np.concatenate((annotations['xyz'], ones), -1)[row],
        smplx={key: values[row] for key, values in parameters.items()},
        config=np.array('freihand'),
        **({} if path.name == FILES[0] else _truth(annotations['verts'], row)),
    )


def _truth(vertices: np.ndarray, row: np.ndarray) -> dict[str, np.ndarray]:
    """Return the vertices to compare with, one copy for all versions of a pose, and each image's index among them."""
    used, index = np.unique(row, return_inverse=True)
    return dict(gt_vertices=vertices[used].astype(np.float32), gt_index=index)
