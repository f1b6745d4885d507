"""Mini data for ExPose: synthetic hands and faces before photographs, as HumanData files with their true parameters."""

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
# What a scanner sees of a face: a point every so many millimetres, in a window around the nose: right, left, low, high.
SCAN_STEP, SCAN_WINDOW = 2.5, (-90, 90, -85, 100)
NOSE = 21  # of FLAME's joints, the landmark below it
CONVENTIONS = dict(mano='hand', flame='face')


def make(root: str | Path = ROOT) -> str:
    """Write body models, pictures and annotations under ``root``, nothing if they are there. Returns a summary.

    Everything comes from a fixed seed. Poses and parts of photographs of val are not in train. Faces of val have scans.
    The folder appears whole or not at all.
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
            _write_part(partial, 'hand', split, MANO(models / FILES['mano']), photos)
            _write_part(partial, 'face', split, FLAME(models / FILES['flame']), photos)
    return summary


def _seeds(part: str, split: str) -> list[tuple[int, ...]]:
    kind = 2 * list(NUM_IMAGES).index(part) + ('train', 'val').index(split)
    return [(SEED, kind, i) for i in range(NUM_IMAGES[part][split])]


def _write_part(root: Path, part: str, split: str, model: BodyModel, photos: list[np.ndarray]) -> None:
    """The pictures of a part and their annotations."""
    take, slots = dict(hand=(rendered_crops.hands, HAND_SLOTS), face=(rendered_crops.faces, FLAME_SLOTS))[part]
    images = f'images/{part}/{split}'
    (root / images).mkdir(parents=True)
    paths, keypoints, joints, parameters, truth = [], [], [], [], []
    for number, crop in enumerate(take(model, photos, split, SIDE, _seeds(part, split))):
        paths.append(f'{images}/{number:06d}.jpg')
        Image.fromarray(crop.image).save(root / paths[-1], quality=92)
        keypoints.append(crop.keypoints)
        joints.append(crop.joints)
        parameters.append(crop.parameters)
        if split == 'val':
            truth.append(crop.vertices if part == 'hand' else scan(model, crop))
    extra = {}
    if split == 'val' and part == 'hand':
        extra = dict(gt_vertices=np.array(truth, np.float32))
    elif split == 'val':
        subjects = [f'{number:06d}' for number in range(len(truth))]
        write_scans(root / SCANS, dict(zip(subjects, truth, strict=True)))
        extra = dict(subject=np.array(subjects), scan_file=SCANS)
    seen = np.ones((len(paths), len(slots), 1))
    write_human_data(
        root / f'{part}_{split}.npz',
        image_path=paths,
        bbox_xywh=np.tile((0, 0, SIDE, SIDE), (len(paths), 1)),
        slots=slots,
        keypoints2d=np.concatenate((keypoints, seen), 2),
        # Of faces with a scan these would be taken for the scan's landmarks.
        keypoints3d=None if part == 'face' else np.concatenate((joints, seen), 2),
        smplx={name: np.array([p[name] for p in parameters]) for name in parameters[0]},
        **extra,
    )


def scan(model: FLAME, crop: RenderedCrop) -> tuple[np.ndarray, np.ndarray]:
    """What a scanner before the face sees: points (N, 3), other ones than the vertices; landmarks (7, 3); mm."""
    turn = axis_angle_to_matrix(torch.from_numpy(crop.parameters['global_orient']))[0].numpy()
    origin = crop.joints[NOSE]
    vertices, landmarks = (1000 * (points - origin) @ turn for points in (crop.vertices, crop.joints))
    right, left, low, high = SCAN_WINDOW
    # As a picture: y down, depth away from the scanner.
    points = np.stack(((vertices[:, 0] - right) / SCAN_STEP, (high - vertices[:, 1]) / SCAN_STEP, -vertices[:, 2]), 1)
    triangles = model.faces.numpy()
    raster = rasterise(points, triangles, (round((left - right) / SCAN_STEP), round((high - low) / SCAN_STEP)))
    seen = raster.triangle >= 0
    corners = vertices[triangles[raster.triangle[seen]]]
    return (raster.weights[seen][:, None] @ corners)[:, 0], landmarks[list(FACE3D_IN_FLAME)]


def use(cfg: Config, root: str = ROOT) -> None:
    """Point an ExPose config at the mini data and the synthetic body models, writing them if they are not there.

    Changes ``cfg`` in place.

    Raises:
        ValueError: the config is of whole bodies, of which there are no mini data.
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
            kind = body_model['type'].split('.')[-1].lower().removesuffix('layer')
            body_model.pop('model_path', None)
            body_model['path'] = str(models / FILES[kind])
