"""Mini data for ExPose: synthetic hands and faces in front of photographs, as HumanData files with true parameters."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from PIL import Image

from moganet.io.files import atomic_directory
from moganet.mini.scenes import load_photos
from moganet.run.config import DATALOADERS, dicts

from ..body_models.layers import FLAME, MANO, BodyModel
from ..data.face_scans import write_scans
from ..data.human_data import write_human_data
from ..models.conventions import FACE3D_IN_FLAME, FLAME_SLOTS, HAND_SLOTS
from ..models.rotation import axis_angle_to_matrix
from . import rendered_crops
from .render import rasterise
from .rendered_crops import RenderedCrop
from .synthetic_body_models import FILES, write_body_models

ROOT = 'data/mini/expose'
BODY_MODEL_FOLDER = 'body_models'
NUM_IMAGES = dict(hand=dict(train=4800, val=200), face=dict(train=2400, val=60))
SCANS = 'face_scans.npz'
SIDE = 96  # of the pictures, in pixels
SEED = 0
# Distance of a scan's points, and the scanned window around the nose (right, left, low, high), in millimetres.
SCAN_STEP, SCAN_WINDOW = 2.5, (-90, 90, -85, 100)
NOSE = 21  # the landmark below the nose among FLAME's joints
CONVENTIONS = dict(mano='hand', flame='face')


def make(root: str | Path = ROOT) -> str:
    """Write body models, pictures and annotations, unless they exist.

    All of it is computed from a fixed seed. The poses and the parts of photographs of the validation set are not in the
    training set. Faces of the validation set have scans. The folder appears whole or not at all.

    Args:
        root: Folder of the data.

    Returns:
        A summary of one line.

    Raises:
        ValueError: The folder exists and holds other files.
    """
    root = Path(root)
    counts = ', '.join(f'{sum(numbers.values())} {part}s' for part, numbers in NUM_IMAGES.items())
    summary = f'{root}: {counts} of synthetic body models before photographs'
    if all((root / f'{part}_{split}.npz').is_file() for part, numbers in NUM_IMAGES.items() for split in numbers):
        return summary
    with atomic_directory(root) as partial:
        models = partial / BODY_MODEL_FOLDER
        write_body_models(models)
        photos = load_photos()
        for split in ('train', 'val'):
            _write_set(partial, 'hand', split, MANO(models / FILES['mano']), photos)
            _write_set(partial, 'face', split, FLAME(models / FILES['flame']), photos)
    return summary


def _seeds(part: str, split: str) -> list[tuple[int, ...]]:
    """Return a seed for each image of a set."""
    set_number = 2 * list(NUM_IMAGES).index(part) + ('train', 'val').index(split)
    return [(SEED, set_number, i) for i in range(NUM_IMAGES[part][split])]


def _write_set(root: Path, part: str, split: str, model: MANO | FLAME, photos: list[np.ndarray]) -> None:
    """Write the pictures and the annotations of a set of hands or faces."""
    crops: Iterator[RenderedCrop]
    slots: tuple[int, ...]
    if isinstance(model, MANO):
        crops, slots = rendered_crops.hands(model, photos, split, SIDE, _seeds(part, split)), HAND_SLOTS
    else:
        crops, slots = rendered_crops.faces(model, photos, split, SIDE, _seeds(part, split)), FLAME_SLOTS
    images = f'images/{part}/{split}'
    (root / images).mkdir(parents=True)
    paths, keypoints, joints, parameters, vertices = [], [], [], [], []
    scans: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for number, crop in enumerate(crops):
        paths.append(f'{images}/{number:06d}.jpg')
        Image.fromarray(crop.image).save(root / paths[-1], quality=92)
        keypoints.append(crop.keypoints)
        joints.append(crop.joints)
        parameters.append(crop.parameters)
        if split == 'val' and part == 'hand':
            vertices.append(crop.vertices)
        elif split == 'val':
            scans[f'{number:06d}'] = scan(model, crop)
    truth: dict[str, np.ndarray | str] = {}
    if vertices:
        truth['gt_vertices'] = np.array(vertices, np.float32)
    if scans:
        write_scans(root / SCANS, scans)
        truth.update(subject=np.array(list(scans)), scan_file=SCANS)
    confidence = np.ones((len(paths), len(slots), 1))
    write_human_data(
        root / f'{part}_{split}.npz',
        image_path=paths,
        bbox_xywh=np.tile((0, 0, SIDE, SIDE), (len(paths), 1)),
        slots=slots,
        keypoints2d=np.concatenate((keypoints, confidence), 2),
        # In a file with scans, 3D key points are the landmarks of the scans.
        keypoints3d=None if part == 'face' else np.concatenate((joints, confidence), 2),
        smplx={name: np.array([values[name] for values in parameters]) for name in parameters[0]},
        **truth,
    )


def scan(model: BodyModel, crop: RenderedCrop) -> tuple[np.ndarray, np.ndarray]:
    """Scan a face from the front, in its own frame with the origin below the nose.

    Args:
        model: FLAME, whose triangles are scanned.
        crop: The rendered face.

    Returns:
        Points (N, 3) of the surface, which differ from the vertices, and landmarks (7, 3), in millimetres.
    """
    orient = axis_angle_to_matrix(torch.from_numpy(crop.parameters['global_orient']))[0].numpy()
    origin = crop.joints[NOSE]
    vertices, landmarks = (1000 * (points - origin) @ orient for points in (crop.vertices, crop.joints))
    right, left, low, high = SCAN_WINDOW
    # In the scanner's image y is down, and depth grows away from the scanner.
    points = np.stack(((vertices[:, 0] - right) / SCAN_STEP, (high - vertices[:, 1]) / SCAN_STEP, -vertices[:, 2]), 1)
    triangles = model.faces.numpy()
    raster = rasterise(points, triangles, (round((left - right) / SCAN_STEP), round((high - low) / SCAN_STEP)))
    seen = raster.triangle >= 0
    corners = vertices[triangles[raster.triangle[seen]]]
    return (raster.weights[seen][:, None] @ corners)[:, 0], landmarks[list(FACE3D_IN_FLAME)]


def use(cfg: Config, root: str = ROOT) -> None:
    """Point an ExPose config at the mini data and the synthetic body models, which are written if they do not exist.

    Args:
        cfg: The config, which is changed in place.
        root: Folder of the data.

    Raises:
        ValueError: The config is one of whole bodies, for which there are no mini data.
    """
    make(root)
    for name in DATALOADERS:
        split = 'train' if name == 'train_dataloader' else 'val'
        for node in dicts(cfg.get(name)):
            _use_dataset(node, root, split)
    for node in dicts(cfg.model):
        _use_body_model(node, Path(root, BODY_MODEL_FOLDER))


def _use_dataset(node: dict, root: str, split: str) -> None:
    if 'ann_file' not in node:
        return
    if node.get('convention') not in CONVENTIONS:
        raise ValueError(f'convention={node.get("convention")!r}: there are mini data of {", ".join(CONVENTIONS)}')
    ann_file = f'{CONVENTIONS[node["convention"]]}_{split}.npz'
    node.update(data_root=str(root), ann_file=ann_file, data_prefix=dict(img=''))


def _use_body_model(node: dict, models: Path) -> None:
    for key in ('body_model', 'body_model_train', 'body_model_test'):
        body_model = node.get(key)
        if body_model:
            convention = body_model['type'].split('.')[-1].lower().removesuffix('layer')
            body_model.pop('model_path', None)
            body_model['path'] = str(models / FILES[convention])
