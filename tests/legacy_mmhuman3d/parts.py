"""MMHuman3D's losses, data sets, augmentations, metrics and tables of key points on random input."""

from pathlib import Path

import numpy as np
import torch
import trimesh
from mmhuman3d.core.conventions.keypoints_mapping import get_flip_pairs, get_keypoint_idxs_by_part, get_mapping
from mmhuman3d.core.evaluation import eval_utils
from mmhuman3d.data.data_structures.human_data import HumanData
from mmhuman3d.data.datasets.human_image_smplx_dataset import HumanImageSMPLXDataset
from mmhuman3d.data.datasets.pipelines import Compose
from mmhuman3d.models.losses.builder import build_loss
from mmhuman3d.utils.geometry import batch_rodrigues, rot6d_to_rotmat, weak_perspective_projection

KEYPOINTS = dict(mano=21, flame=73, smplx=144)
SEEDS = range(6)


def everything(folder: Path) -> dict[str, np.ndarray]:
    found = {}
    for name, section in dict(
        losses=losses, geometry=geometry, conventions=conventions, transforms=transforms, metrics=metrics
    ).items():
        found |= {f'{name}/{key}': np.asarray(value) for key, value in section().items()}
    return found | data(folder)


def rotations(count: int, generator: torch.Generator) -> torch.Tensor:
    return batch_rodrigues(torch.randn(count, 3, generator=generator))


def losses() -> dict:
    generator = torch.Generator().manual_seed(0)
    pred, target = torch.randn(5, 7, 3, generator=generator), torch.randn(5, 7, 3, generator=generator)
    weight = torch.rand(5, 7, 1, generator=generator).round(decimals=1).expand(5, 7, 3).contiguous()
    rot_pred, rot_target = (rotations(30, generator).reshape(5, 6, 3, 3) for _ in range(2))
    rot_target[0] = rot_pred[0]
    rot_weight = (torch.rand(5, 6, generator=generator) - 0.3).clamp(min=0)
    betas = 4 * torch.randn(5, 10, generator=generator)
    found = dict(pred=pred, target=target, weight=weight, betas=betas)
    found |= dict(rot_pred=rot_pred, rot_target=rot_target, rot_weight=rot_weight)
    for kind in ('L1Loss', 'MSELoss'):
        for reduction in ('sum', 'mean', 'none'):
            loss = build_loss(dict(type=kind, reduction=reduction, loss_weight=0.3))
            found[f'{kind}/{reduction}/plain'] = loss(pred, target)
            found[f'{kind}/{reduction}/weighted'] = loss(pred, target, weight=weight)
    loss = build_loss(dict(type='RotationDistance', reduction='mean', loss_weight=0.7))
    found['RotationDistance/plain'] = loss(rot_pred, rot_target)
    found['RotationDistance/weighted'] = loss(rot_pred, rot_target, weight=rot_weight[..., None, None])
    for norm in ('l1', 'l2'):
        loss = build_loss(dict(type='ShapeThresholdPriorLoss', margin=3.0, norm=norm, loss_weight=0.2))
        found[f'ShapeThresholdPriorLoss/{norm}'] = loss(betas)
    return found


def geometry() -> dict:
    generator = torch.Generator().manual_seed(1)
    six, axis_angle = torch.randn(20, 6, generator=generator), torch.randn(20, 3, generator=generator)
    axis_angle[0] = 0
    points = torch.randn(4, 9, 3, generator=generator)
    scale, translation = torch.rand(4, generator=generator) + 0.5, torch.randn(4, 2, generator=generator)
    return dict(
        six=six,
        six_matrix=rot6d_to_rotmat(six),
        axis_angle=axis_angle,
        axis_angle_matrix=batch_rodrigues(axis_angle),
        points=points,
        camera=torch.cat((scale[:, None], translation), 1),
        projected=weak_perspective_projection(points, scale=scale, translation=translation),
    )


def conventions() -> dict:
    found = {}
    for name in KEYPOINTS:
        slots, own, _ = get_mapping(name, 'human_data')
        found[f'{name}/slots'] = np.array(slots)[np.argsort(own)]
        found[f'{name}/flip_pairs'] = get_flip_pairs(name)
    for name, part, ours in (
        ('mano', 'right_hand', 'right_hand'),
        ('flame', 'head', 'face'),
        ('smplx', 'left_hand', 'left_hand'),
        ('smplx', 'right_hand', 'right_hand'),
        ('smplx', 'head', 'face'),
    ):
        found[f'{name}/parts/{ours}'] = sorted(get_keypoint_idxs_by_part(part, name))
    own, face, _ = get_mapping('face3d', 'flame')
    found['face3d_in_flame'] = np.array(own)[np.argsort(face)]
    return found


def data(folder: Path) -> dict[str, np.ndarray]:
    """Samples of our files, written again with the empty key points."""
    found = {}
    (folder / 'rewritten').mkdir()
    for path in sorted((folder / 'preprocessed_datasets').iterdir()):
        dataset = HumanImageSMPLXDataset(
            str(folder),
            [],
            'own',
            ann_file=path.name,
            convention=path.stem,
            num_betas=100 if path.stem == 'flame' else 10,
            num_expression=50,
        )
        for index in range(len(dataset)):
            info = dataset.prepare_raw_data(index)
            for name in info:
                if name in ('center', 'scale') or name.removeprefix('has_').startswith(('keypoints', 'smplx_')):
                    found[f'data/{path.stem}/{index}/{name}'] = np.asarray(info[name])
        content = HumanData.fromfile(str(path))
        content.decompress_keypoints()
        content.dump(str(folder / 'rewritten' / path.name))
    return found


def sample(convention: str, generator: np.random.Generator) -> dict[str, np.ndarray]:
    count = KEYPOINTS[convention]
    seen = (generator.random((count, 1)) > 0.2).astype(np.float32)
    coarse = generator.integers(0, 255, (15, 20, 3)).astype(np.uint8)
    found = dict(
        img=np.kron(coarse, np.ones((8, 8, 1), np.uint8)),
        center=generator.random(2) * (40, 30) + (60, 45),
        scale=np.full(2, generator.random() * 60 + 60),
        keypoints2d=np.concatenate((generator.random((count, 2)) * 120, seen), 1).astype(np.float32),
        keypoints3d=np.concatenate((generator.normal(size=(count, 3)), seen), 1).astype(np.float32),
        smplx_global_orient=generator.normal(size=3).astype(np.float32),
        smplx_expression=generator.normal(size=10).astype(np.float32),
    )
    poses = dict(mano=dict(right=15), flame={}, smplx=dict(right=15, left=15))[convention]
    for side, joints in poses.items():
        found[f'smplx_{side}_hand_pose'] = generator.normal(size=(joints, 3)).astype(np.float32)
    if convention != 'mano':
        found['smplx_jaw_pose'] = generator.normal(size=3).astype(np.float32)
    if convention == 'smplx':
        found['smplx_body_pose'] = generator.normal(size=(21, 3)).astype(np.float32)
    return found


def transforms() -> dict:
    found = {}
    for convention in KEYPOINTS:
        pipeline = Compose(
            [
                dict(type='BBoxCenterJitter', factor=0.2, dist='uniform'),
                dict(type='RandomHorizontalFlip', flip_prob=0 if convention == 'mano' else 0.5, convention=convention),
                dict(type='GetRandomScaleRotation', rot_factor=30, scale_factor=0.2, rot_prob=0.6),
                dict(type='MeshAffine', img_res=64),
                dict(type='RandomChannelNoise', noise_factor=0.4),
                dict(type='SimulateLowRes', dist='categorical', cat_factors=(1.0, 1.2, 1.5, 2.0, 3.0, 4.0)),
            ]
        )
        for seed in SEEDS:
            given = sample(convention, np.random.default_rng(seed))
            found |= {f'{convention}/{seed}/in/{key}': value.copy() for key, value in given.items()}
            np.random.seed(seed)
            out = pipeline(dict(given, img_shape=given['img'].shape[:2]))
            kept = ('rotation', 'crop_transform', 'is_flipped', *given)
            found |= {f'{convention}/{seed}/out/{key}': out[key] for key in kept}
    return found


def metrics() -> dict:
    generator = np.random.default_rng(3)
    joints, vertices = generator.normal(size=(4, 21, 3)) * 0.08, generator.normal(size=(4, 778, 3)) * 0.05
    pred_joints, pred_vertices = (x * 1.3 + 0.02 * generator.normal(size=x.shape) + 1 for x in (joints, vertices))
    pred_vertices[3, :, 0] *= -1
    everywhere = np.ones((4, 21), bool)
    found = dict(joints=joints, vertices=vertices, pred_joints=pred_joints, pred_vertices=pred_vertices)
    found['PA-MPJPE'] = 1000 * eval_utils.keypoint_mpjpe(pred_joints, joints, everywhere, 'procrustes')
    centred = (x - x[:, :1] for x in (pred_joints, joints))
    found['MPJPE'] = 1000 * eval_utils.keypoint_mpjpe(*centred, everywhere)
    found['PA-PVE'] = 1000 * eval_utils.vertice_pve(pred_vertices, vertices, 'procrustes')
    mesh = trimesh.creation.icosphere(subdivisions=4, radius=0.09)
    landmarks = mesh.vertices[generator.integers(0, len(mesh.vertices), 7)]
    scan = 1000 * mesh.vertices[::3] * 1.05 + 3 * generator.normal(size=mesh.vertices[::3].shape)
    marks = 1050 * landmarks + generator.normal(size=(7, 3))
    found |= dict(mesh=mesh.vertices, faces=mesh.faces, landmarks=landmarks, scan=scan, scan_landmarks=marks)
    found['3DRMSE'] = eval_utils.fg_vertices_to_mesh_distance(
        scan, marks, 1000 * mesh.vertices, mesh.faces, 1000 * landmarks
    )
    return found
