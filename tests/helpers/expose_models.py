"""Small ExPose networks and labelled samples, and checkpoints as MMHuman3D writes them."""

import torch
from mmengine.structures import BaseDataElement

from mogapose.expose.mini.synthetic_body_models import FILES
from mogapose.expose.registry import MODELS

BACKBONE = dict(
    type='MogaNet',
    arch=dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2)),
    out_indices=(3,),
)
# Head, body model, key points, betas, expression, poses with their joints.
PARTS = dict(
    hand=('ExPoseHandHead', 'mano', 21, 10, 0, dict(global_orient=1, right_hand_pose=15)),
    face=('ExPoseFaceHead', 'flame', 73, 100, 50, dict(global_orient=1, jaw_pose=1)),
    body=(
        'ExPoseBodyHead',
        'smplx',
        144,
        10,
        10,
        dict(global_orient=1, body_pose=21, left_hand_pose=15, right_hand_pose=15, jaw_pose=1),
    ),
)
SIZES = dict(hand=109, face=165, body=341)
L1, MSE, ANGLE = dict(type='L1Loss'), dict(type='MSELoss'), dict(type='RotationDistance')
LOSSES = dict(
    hand=dict(loss_keypoints2d=L1, loss_smplx_global_orient=ANGLE, loss_smplx_hand_pose=ANGLE),
    face=dict(
        loss_keypoints2d=L1, loss_smplx_global_orient=ANGLE, loss_smplx_jaw_pose=ANGLE, loss_smplx_expression=MSE
    ),
    body=dict(
        loss_keypoints2d=L1,
        loss_keypoints3d=L1,
        loss_smplx_global_orient=ANGLE,
        loss_smplx_body_pose=ANGLE,
        loss_smplx_hand_pose=ANGLE,
        loss_smplx_jaw_pose=ANGLE,
        loss_smplx_expression=MSE,
        loss_smplx_betas=dict(type='MSELoss', loss_weight=0.001),
    ),
)
PRIOR = dict(loss_smplx_betas_prior=dict(type='ShapeThresholdPriorLoss'))


def model_config(part: str, body_models, **options) -> dict:
    """A network of a few thousand parameters with the losses of its recipe."""
    head, body_model, *_ = PARTS[part]
    return dict(
        type='SMPLXImageBodyModelEstimator',
        data_preprocessor=dict(type='ImgDataPreprocessor', mean=[0, 0, 0], std=[255, 255, 255], bgr_to_rgb=True),
        backbone=dict(BACKBONE),
        head=dict(type=head, in_channels=32, regressor_cfg=dict(layers=(16, 16))),
        body_model=dict(type=body_model.upper(), path=str(body_models / FILES[body_model])),
    ) | {**LOSSES[part], **PRIOR, **options}


def estimator(part: str, body_models, **options):
    return MODELS.build(model_config(part, body_models, **options))


def sample(part: str, side: int = 32, **fields) -> BaseDataElement:
    """A data sample with all labels of its part; ``fields`` replace some."""
    _, _, points, betas, expression, poses = PARTS[part]
    labels = dict(
        keypoints2d=torch.cat((torch.rand(points, 2) * (side - 1), torch.ones(points, 1)), 1),
        keypoints3d=torch.cat((torch.randn(points, 3) / 10, torch.ones(points, 1)), 1),
        betas=torch.randn(betas),
        **{name: torch.randn(count, 3) / 2 for name, count in poses.items()},
    )
    if expression:
        labels['expression'] = torch.randn(expression)
    flags = {f'has_{name}': torch.ones(1) for name in labels}
    found = BaseDataElement(metainfo=dict(sample_idx=0, img_path='a.jpg'))
    found.set_data(labels | flags | fields)
    return found


def resnet18_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of ResNet-18 without its classifier, the same in torchvision, mmpose and MMHuman3D."""
    shapes = {'conv1.weight': (64, 3, 7, 7), **_norm('bn1', 64)}
    before = 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        for block in range(2):
            name = f'layer{stage}.{block}'
            shapes[f'{name}.conv1.weight'] = (width, before, 3, 3)
            shapes[f'{name}.conv2.weight'] = (width, width, 3, 3)
            shapes |= _norm(f'{name}.bn1', width) | _norm(f'{name}.bn2', width)
            if before != width:
                shapes[f'{name}.downsample.0.weight'] = (width, before, 1, 1)
                shapes |= _norm(f'{name}.downsample.1', width)
            before = width
    return shapes


def _norm(name: str, width: int) -> dict[str, tuple[int, ...]]:
    return {f'{name}.{what}': (width,) for what in ('weight', 'bias', 'running_mean', 'running_var')} | {
        f'{name}.num_batches_tracked': ()
    }


def head_shapes(part: str, channels: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a head's own tensors."""
    size, module = SIZES[part], 'regressor.module'
    shapes = {'regressor.mean_param': (1, size)}
    for block, inputs in enumerate((channels + size, 1024)):
        shapes |= {f'{module}.blocks.{block}.0.weight': (1024, inputs), f'{module}.blocks.{block}.0.bias': (1024,)}
    return shapes | {f'{module}.output_layer.weight': (size, 1024), f'{module}.output_layer.bias': (size,)}


def mmhuman3d_state(part: str) -> dict[str, torch.Tensor]:
    """The state of a ResNet-18 as MMHuman3D saves it: layers twice, index tables, and two whole body models."""
    _, _, _, betas, expression, poses = PARTS[part]
    state = {f'backbone.{name}': shape for name, shape in resnet18_shapes().items()}
    state |= {f'head.{name}': shape for name, shape in head_shapes(part, 512).items()}
    state = {name: torch.rand(shape) if shape else torch.tensor(7) for name, shape in state.items()}
    for name in list(state):
        if '.blocks.' in name:
            state[name.replace('blocks.', 'layer_00')] = state[name]
    start = 0
    sizes = {name: 6 * count for name, count in poses.items()} | dict(shape=betas, expression=expression, camera=3)
    for name, size in sizes.items():
        if size:
            state[f'head.{name}_idxs'] = torch.arange(start, start + size)
            start += size
    for layer in ('body_model_train', 'body_model_test'):
        for name in ('v_template', 'shapedirs', 'posedirs', 'J_regressor', 'lbs_weights', 'faces_tensor', 'parents'):
            state[f'{layer}.{name}'] = torch.rand(4, 3)
        state[f'{layer}.body_pose'] = torch.rand(1, 63)
        state[f'{layer}.vertex_joint_selector.extra_joints_idxs'] = torch.arange(5)
    return state
