"""ExPose's networks with MogaNet as MMHuman3D builds them: configs, random batches and outputs."""

import pickle
from pathlib import Path

import numpy as np
import torch
from mmcv import Config
from mmcv.runner import BaseModule
from mmhuman3d.models.architectures.expressive_mesh_estimator import SMPLXImageBodyModelEstimator
from mmhuman3d.models.backbones.builder import build_backbone
from mmhuman3d.models.heads.builder import build_head

from moganet import MogaNet

# Registers the backbone, as a user's config does.
Config.fromstring("custom_imports = dict(imports=['mogapose.legacy_mmhuman3d'], allow_failed_imports=False)", '.py')

BATCH, SIDE = 4, 64
POSES = dict(
    hand=dict(global_orient=1, right_hand_pose=15),
    face=dict(global_orient=1, jaw_pose=1),
    body=dict(global_orient=1, body_pose=21, left_hand_pose=15, right_hand_pose=15, jaw_pose=1),
)
SHAPE = dict(hand=(10, 0), face=(100, 50), body=(10, 10))
CONVENTIONS = dict(hand='mano', face='flame', body='smplx')
LAYERS = dict(hand='MANOLayer', face='FLAMELayer', body='SMPLXLayer')
JOINTS = dict(hand=21, face=73, body=144)
LOSSES = dict(
    hand=('keypoints2d', 'smplx_global_orient', 'smplx_hand_pose', 'smplx_betas_prior'),
    face=('keypoints2d', 'smplx_global_orient', 'smplx_jaw_pose', 'smplx_expression', 'smplx_betas_prior'),
    body=(
        *('keypoints2d', 'keypoints3d', 'smplx_global_orient', 'smplx_body_pose', 'smplx_jaw_pose', 'smplx_hand_pose'),
        *('smplx_betas', 'smplx_expression', 'smplx_betas_prior'),
    ),
)
LOSS = dict(
    smplx_expression=dict(type='MSELoss', reduction='sum', loss_weight=1),
    smplx_betas=dict(type='MSELoss', reduction='sum', loss_weight=0.001),
    smplx_betas_prior=dict(type='ShapeThresholdPriorLoss', margin=0.01, norm='l2', loss_weight=1),
    keypoints2d=dict(type='L1Loss', reduction='sum', loss_weight=1),
    keypoints3d=dict(type='L1Loss', reduction='sum', loss_weight=1),
)
ROTATION_LOSS = dict(type='RotationDistance', reduction='sum', loss_weight=1)


def head_config(part: str, channels: int) -> dict:
    betas, expression = SHAPE[part]
    turned = part != 'hand'
    return dict(
        type=f'ExPose{part.capitalize()}Head',
        num_betas=betas,
        pose_param_conf=[
            dict(
                name=name,
                num_angles=count,
                use_mean=name.endswith('hand_pose') or name == 'body_pose',
                rotate_axis_x=turned and name == 'global_orient',
            )
            for name, count in POSES[part].items()
        ],
        input_feat_dim=channels,
        regressor_cfg=dict(
            layers=[1024, 1024], activ_type='none' if part == 'body' else 'ReLU', dropout=0.5, gain=0.01
        ),
        camera_cfg=dict(pos_func='softplus', mean_scale=8.0 if part == 'face' else 0.9),
        **(dict(num_expression_coeffs=expression) if expression else {}),
    )


def lay_out_body_models(source: Path, target: Path) -> None:
    """Copy npz files to the folders that smplx reads; it needs the landmarks of faces in separate pickles."""
    for name in ('mano/MANO_RIGHT', 'flame/FLAME_NEUTRAL', 'smplx/SMPLX_NEUTRAL'):
        with np.load(source / f'{name}.npz') as archive:
            arrays = dict(archive)
        (target / name).parent.mkdir(parents=True)
        np.savez(target / f'{name}.npz', **arrays)
        if 'flame' in name:
            static = dict(lmk_face_idx=arrays['lmk_faces_idx'], lmk_b_coords=arrays['lmk_bary_coords'])
            dynamic = dict(lmk_face_idx=arrays['dynamic_lmk_faces_idx'], lmk_b_coords=arrays['dynamic_lmk_bary_coords'])
            (target / 'flame/flame_static_embedding.pkl').write_bytes(pickle.dumps(static))
            np.save(target / 'flame/flame_dynamic_embedding.npy', dynamic, allow_pickle=True)


def estimator_config(part: str, body_models: Path) -> dict:
    betas, expression = SHAPE[part]
    convention = CONVENTIONS[part]
    body_model = dict(
        type=LAYERS[part],
        model_path=str(body_models / convention),
        ext='npz',
        num_betas=betas,
        keypoint_src=convention,
        keypoint_dst=convention,
        **(dict(num_expression_coeffs=expression, use_face_contour=True) if expression else {}),
    )
    losses = {f'loss_{name}': LOSS.get(name, ROTATION_LOSS) for name in LOSSES[part]}
    # The backbone of bodies pools; here its features are fixed.
    backbone = None if part == 'body' else dict(type='MogaNet', arch='xtiny', out_indices=(3,), drop_path_rate=0.1)
    return dict(
        backbone=backbone,
        head=head_config(part, 192),
        body_model_train=body_model,
        body_model_test=body_model,
        convention=convention,
        **losses,
    )


def random_batch(part: str, generator: np.random.Generator) -> dict[str, torch.Tensor]:
    """Labels with confidences between 0 and 1, of which one in four is missing."""
    joints = JOINTS[part]
    confidence = generator.random((BATCH, joints, 1)) * (generator.random((BATCH, joints, 1)) > 0.2)
    arrays = dict(
        img=generator.normal(size=(BATCH, 3, SIDE, SIDE)),
        features=generator.normal(size=(BATCH, 192)),
        keypoints2d=np.concatenate((generator.random((BATCH, joints, 2)) * SIDE, confidence), -1),
        keypoints3d=np.concatenate((generator.normal(size=(BATCH, joints, 3)) * 0.1, confidence), -1),
        smplx_betas=generator.normal(size=(BATCH, SHAPE[part][0])),
        smplx_expression=generator.normal(size=(BATCH, SHAPE[part][1])),
    )
    for name, count in POSES[part].items():
        arrays[f'smplx_{name}'] = generator.normal(size=(BATCH, count, 3)) * 0.7
    for number, name in enumerate([name for name in arrays if name not in ('img', 'features')]):
        arrays[f'has_{name}'] = (np.arange(BATCH) % 4 != number % 4)[:, None].astype(np.float32)
    return {name: torch.from_numpy(np.float32(array)) for name, array in arrays.items()}


def flat(prefix: str, content: dict) -> dict[str, np.ndarray]:
    """Nested dicts of tensors as arrays by path."""
    found = {}
    for name, value in content.items():
        if isinstance(value, dict):
            found |= flat(f'{prefix}/{name}', value)
        else:
            found[f'{prefix}/{name}'] = value.detach().numpy().copy() if torch.is_tensor(value) else np.asarray(value)
    return found


def heads() -> dict[str, np.ndarray]:
    found = {}
    for number, part in enumerate(POSES):
        torch.manual_seed(number)
        head = build_head(head_config(part, 192)).eval()
        # With the initial weights every prediction is the mean.
        head.regressor.module.output_layer.weight.data *= 5
        features = torch.randn(BATCH, 192) if part == 'body' else [torch.randn(BATCH, 192, 3, 2)]
        with torch.no_grad():
            out = head(features)
        content = dict(state=dict(head.state_dict()), features=features if part == 'body' else features[0], out=out)
        if part != 'body':
            cond = head.regressor.mean_param + 0.3 * torch.randn(BATCH, head.regressor.mean_param.shape[1])
            with torch.no_grad():
                content |= dict(cond=cond, conditioned=head(features, cond=cond))
        found |= flat(f'heads/{part}', content)
    return found


def estimators(body_models: Path) -> dict[str, np.ndarray]:
    """Losses and predictions of a new network, and two iterations of training with Adam."""
    found = {}
    for number, part in enumerate(POSES):
        torch.manual_seed(10 + number)
        model = SMPLXImageBodyModelEstimator(**estimator_config(part, body_models))
        model.init_weights()
        batch = random_batch(part, np.random.default_rng(number))
        # The state of a checkpoint; for bodies without the body model, which is large.
        state = {k: v for k, v in model.state_dict().items() if part != 'body' or 'body_model' not in k}
        content = dict(batch=batch, state=state)
        content = flat(f'estimators/{part}', content)
        model.eval()
        with torch.no_grad():
            features = batch['features'] if part == 'body' else model.backbone(batch['img'])
            predictions = model.head(features)
            losses = model.compute_losses(predictions, batch)
            metas = [dict(image_path='') for _ in range(BATCH)]
            out = model.forward_test(batch['img'], metas, sample_idx=range(BATCH), features=batch['features'])
        out = {name: out[name] for name in ('keypoints_3d', 'vertices', 'camera')}
        content |= flat(f'estimators/{part}', dict(losses=losses, out=out))
        if part != 'body':
            content |= flat(f'estimators/{part}', dict(training=train(model, batch)))
        found |= content
    return found


def train(model: torch.nn.Module, batch: dict[str, torch.Tensor], iterations: int = 2) -> dict:
    model.train()
    optimizers = {
        name: torch.optim.Adam(getattr(model, name).parameters(), lr=1e-4, weight_decay=1e-4)
        for name in ('backbone', 'head')
    }
    logs = []
    for iteration in range(iterations):
        torch.manual_seed(100 + iteration)
        logs.append(model.train_step(batch, optimizers)['log_vars'])
    losses = {name: np.array([log[name] for log in logs]) for name in logs[0]}
    return dict(losses=losses, state={k: v for k, v in model.state_dict().items() if 'body_model' not in k})


def pretrained(folder: Path) -> dict[str, np.ndarray]:
    """Return the number of weights that differ from a checkpoint that ``init_cfg`` names."""
    weights = {name: torch.randn_like(value) for name, value in MogaNet('xtiny').named_parameters()}
    state = MogaNet('xtiny').state_dict() | weights
    torch.save(state, folder / 'xtiny.pth')
    init_cfg = dict(type='Pretrained', checkpoint=str(folder / 'xtiny.pth'))
    backbone = build_backbone(dict(type='MogaNet', arch='xtiny', out_indices=(3,), init_cfg=init_cfg))
    model = BaseModule()
    model.backbone = backbone
    model.init_weights()
    return dict(pretrained=np.array([sum((value != state[k]).sum() for k, value in backbone.state_dict().items())]))
