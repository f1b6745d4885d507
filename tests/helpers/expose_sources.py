"""Small copies of the published folders of FreiHAND, FFHQ's fits and Stirling, with labels from synthetic models."""

import json
from pathlib import Path

import cv2
import numpy as np
import torch

from mogapose.expose.body_models.layers import FLAME, MANO
from mogapose.expose.models.conventions import FACE3D_IN_FLAME
from mogapose.expose.models.rotation import axis_angle_to_matrix

POSES, TEST_POSES = 4, 4
FOCAL, MIDDLE, DEPTH = 480.0, 112.0, 0.6


def write_image(path: Path, size: tuple[int, int], seed: int) -> None:
    """Write an image of smooth noise of a few KB, different for each seed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    cv2.imwrite(str(path), cv2.resize(noise, size[::-1]))


def write_freihand(root: Path, models: Path) -> dict[str, np.ndarray]:
    """Write 4 training poses in 4 versions and 4 test poses. Return absolute finger poses (8, 15, 3) and vertices."""
    mano = MANO(models / 'mano/MANO_RIGHT.pkl')
    random = np.random.default_rng(0)
    relative = random.normal(0, 0.15, (POSES + TEST_POSES, 16, 3))
    betas = random.normal(0, 0.5, (POSES + TEST_POSES, 10))
    absolute = relative[:, 1:] + mano.hands_mean.numpy()
    with torch.no_grad():
        posed = mano(
            axis_angle_to_matrix(torch.from_numpy(relative[:, :1])).float(),
            betas=torch.from_numpy(betas).float(),
            right_hand_pose=axis_angle_to_matrix(torch.from_numpy(absolute)).float(),
        )
    middle = posed['joints'].numpy().mean(1) - (0, 0, DEPTH)
    middle[:, :2] += random.normal(0, 0.01, (POSES + TEST_POSES, 2))
    vertices, joints = (posed[name].numpy() - middle[:, None] for name in ('vertices', 'joints'))
    parameters = np.concatenate((relative.reshape(-1, 48), betas, np.zeros((8, 2)), np.ones((8, 1))), 1)
    camera = np.array([[FOCAL, 0, MIDDLE], [0, FOCAL, MIDDLE], [0, 0, 1]])
    root.mkdir(parents=True, exist_ok=True)
    for name, rows in (('training', slice(0, POSES)), ('evaluation', slice(POSES, None))):
        count = len(vertices[rows])
        content = dict(
            K=[camera.tolist()] * count,
            mano=parameters[rows, None].tolist(),
            xyz=joints[rows].tolist(),
            verts=vertices[rows].tolist(),
            scale=[0.03] * count,
        )
        for key, values in content.items():
            (root / f'{name}_{key}.json').write_text(json.dumps(values))
        for i in range(count * (4 if name == 'training' else 1)):
            write_image(root / name / 'rgb' / f'{i:08d}.jpg', (224, 224), seed=i)
    return dict(poses=absolute, vertices=vertices, joints=joints, betas=betas)


def write_ffhq(root: Path, rows: int = 5, size: int = 64, key: str = 'keypoints2d') -> dict[str, np.ndarray]:
    """Write images of 64 x 64 and a file of fits. Return the fits."""
    random = np.random.default_rng(0)
    names = np.array([f'{i:05d}.png' for i in range(rows)])
    fits = dict(
        img_fnames=names,
        global_pose=random.normal(size=(rows, 3)),
        jaw_pose=random.normal(size=(rows, 3)),
        betas=random.normal(size=(rows, 100)),
        expression=random.normal(size=(rows, 50)),
        **{key: random.uniform(0, size, (rows, 73, 2))},
    )
    for i, name in enumerate(names):
        write_image(root / 'ffhq_global_images_1024' / name, (size, size), seed=i)
    np.savez(root / 'ffhq_annotations.npz', **fits)
    return fits


def write_stirling(root: Path, models: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Write 2 images of 2 persons in each quality. Return scans of different sizes and landmarks, in millimetres."""
    flame = FLAME(models / 'flame/FLAME_NEUTRAL.pkl')
    random = np.random.default_rng(0)
    scans = {}
    for subject, points, lower in (('F1001', 300, True), ('M1002', 280, False)):
        betas = torch.from_numpy(random.normal(0, 0.5, (1, 100))).float()
        with torch.no_grad():
            posed = flame(torch.eye(3)[None, None], betas=betas)
        vertices = 1000 * posed['vertices'][0].numpy().astype(float)
        landmarks = 1000 * posed['joints'][0, list(FACE3D_IN_FLAME)].numpy().astype(float)
        vertices = vertices[random.permutation(len(vertices))[:points]].round(4)
        scans[subject] = vertices, landmarks.round(4)
        name = subject.lower() if lower else subject
        obj = root / f'{subject[0]}_3D_N' / f'{name}_N.obj'
        lnd = root / 'annotations' / f'{subject[0]}_3D_N' / f'{name}_N.lnd'
        for path in (obj, lnd):
            path.parent.mkdir(parents=True, exist_ok=True)
        lines = [f'v {x:.4f} {y:.4f} {z:.4f}' for x, y, z in vertices]
        obj.write_text('\n'.join(['# scan', *lines, 'vt 0.5 0.5', 'v 9 9 9', 'f 1/1 2/1 3/1', '']))
        points = enumerate(scans[subject][1], start=1)
        lnd.write_text(''.join(f'{i} {x:.4f} {y:.4f} {z:.4f}\n' for i, (x, y, z) in points))
        for quality in ('HQ', 'LQ'):
            for i in range(2):
                size = (64, 64 + 8 * i) if quality == 'HQ' else (40, 40)
                write_image(root / 'Subset_2D_FG2018' / quality / f'{subject}_{i}.jpg', size, seed=i)
    return scans
