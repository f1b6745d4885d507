"""The recipes against MMHuman3D's and the paper's values: networks, losses, pipelines, rates."""

import copy
import functools
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from torch import nn

from helpers.cases import for_each
from helpers.tool_runs import ROOT
from moganet.run.config import load_config
from mogapose.expose.registry import MODELS

CONFIGS = ROOT / 'configs/expose'
# Config, part, width of the last map.
RECIPES = dict(
    hand_moganet_t=('hand', 'tiny', 256),
    hand_moganet_s=('hand', 'small', 512),
    hand_resnet18=('hand', None, 512),
    face_moganet_t=('face', 'tiny', 256),
    face_moganet_s=('face', 'small', 512),
    face_resnet18=('face', None, 512),
)
NAMES = list(RECIPES)
ANGLE, L1 = dict(type='RotationDistance', loss_weight=1), dict(type='L1Loss', loss_weight=1)
PRIOR = dict(type='ShapeThresholdPriorLoss', margin=3.0, norm='l2', loss_weight=1)
LOSSES = dict(
    hand=dict(
        loss_keypoints2d=L1, loss_smplx_global_orient=ANGLE, loss_smplx_hand_pose=ANGLE, loss_smplx_betas_prior=PRIOR
    ),
    face=dict(
        loss_keypoints2d=L1,
        loss_smplx_global_orient=ANGLE,
        loss_smplx_jaw_pose=ANGLE,
        loss_smplx_expression=dict(type='MSELoss', loss_weight=1),
        loss_smplx_betas_prior=PRIOR,
    ),
)
LOAD, PACK = dict(type='LoadImageFromFile'), dict(type='PackExPoseInputs')
JITTER, NOISE = dict(type='BBoxCenterJitter', factor=0.2), dict(type='RandomChannelNoise', noise_factor=0.4)
TURN = dict(type='GetRandomScaleRotation', rot_factor=30, scale_factor=0.2, rot_prob=0.6)
BLUR = [1.0, 1.2, 1.5, 2.0, 3.0, 4.0]
TRAIN = dict(
    hand=[
        LOAD,
        JITTER,
        TURN,
        dict(type='MeshAffine', img_res=224),
        NOISE,
        dict(type='SimulateLowRes', cat_factors=BLUR),
        PACK,
    ],
    face=[
        LOAD,
        JITTER,
        dict(type='RandomHorizontalFlip', flip_prob=0.5),
        TURN,
        dict(type='MeshAffine', img_res=256),
        NOISE,
        dict(type='SimulateLowRes', cat_factors=[*BLUR, 8.0]),
        PACK,
    ],
)
FILES = dict(
    hand=('freihand_train', 'freihand_val', 'freihand_test', 'FreiHand', 'FreiHand'),
    face=('ffhq_flame_train', 'stirling_ESRC3D_HQ', 'stirling_ESRC3D_HQ', 'ffhq', 'stirling'),
)


@functools.cache
def recipe(name: str) -> Config:
    """The config of a recipe. Tests share it and must not change it."""
    return load_config(CONFIGS / f'{name}.py')


def build(name: str, device: str = 'meta') -> nn.Module:
    with DefaultScope.overwrite_default_scope('mogapose'), torch.device(device):
        return MODELS.build(copy.deepcopy(recipe(name).model))


def plain(node: object) -> object:
    """A part of a config with lists instead of tuples."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items()}
    return [plain(value) for value in node] if isinstance(node, list | tuple) else node


def test_every_recipe_is_tested():
    configs = {path.stem for path in CONFIGS.glob('*.py') if not path.stem.endswith(('mini', 'own_data'))}
    assert configs - {'body_moganet_s'} == set(NAMES)


@for_each(NAMES)
def test_recipe_has_the_network_of_its_part(name):
    part, arch, channels = RECIPES[name]
    model = plain(recipe(name).model)
    if arch:
        weights = dict(type='Pretrained', checkpoint=f'moganet://{arch}_1k')
        assert model['backbone'] == dict(type='MogaNet', arch=arch, out_indices=[3], init_cfg=weights)
    else:
        weights = dict(type='Pretrained', checkpoint='torchvision://resnet18')
        assert model['backbone'] == dict(type='mmpose.ResNet', depth=18, norm_eval=True, init_cfg=weights)
    sizes = dict(num_betas=100, num_expression_coeffs=50) if part == 'face' else {}
    assert model['head'] == dict(
        type=f'ExPose{part.title()}Head',
        in_channels=channels,
        regressor_cfg=dict(layers=[1024, 1024], activ_type='ReLU', dropout=0.5, init='default'),
        camera_cfg=dict(pos_func='softplus', mean_scale=0.9 if part == 'hand' else 8.0),
        **sizes,
    )
    assert model['body_model']['type'] == dict(hand='MANO', face='FLAME')[part]
    assert {key: value for key, value in model.items() if key.startswith('loss_') and value} == LOSSES[part]
    data = model['data_preprocessor']
    assert (data['mean'], data['std']) == ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert data['bgr_to_rgb'] is True


@for_each(NAMES)
def test_pipelines_and_files_are_those_of_its_part(name):
    cfg, part = recipe(name), RECIPES[name][0]
    loaders = [plain(cfg[f'{use}_dataloader']) for use in ('train', 'val', 'test')]
    test = [LOAD, dict(type='MeshAffine', img_res=224 if part == 'hand' else 256), PACK]
    assert [loader['dataset']['pipeline'] for loader in loaders] == [TRAIN[part], test, test]
    train, val, tested, images, test_images = FILES[part]
    for loader, file, folder in zip(loaders, (train, val, tested), (images, test_images, test_images), strict=True):
        assert loader['batch_size'] == 64
        dataset = loader['dataset']
        assert (dataset['type'], dataset['data_root']) == ('HumanDataDataset', 'data')
        assert dataset['ann_file'] == f'preprocessed_datasets/{file}.npz'
        assert dataset['data_prefix'] == dict(img=f'datasets/{folder}')
        assert dataset['convention'] == dict(hand='mano', face='flame')[part]
    assert loaders[0]['sampler']['shuffle'] is True
    metric = dict(type='HandMeshMetric') if part == 'hand' else dict(type='FaceScanMetric', mode='mean')
    assert plain(cfg.val_evaluator) == plain(cfg.test_evaluator) == metric


@for_each(NAMES)
def test_training_is_a_hundred_epochs_of_adam(name):
    cfg = recipe(name)
    assert plain(cfg.optim_wrapper) == dict(optimizer=dict(type='Adam', lr=1e-4, weight_decay=1e-4))
    assert plain(cfg.train_cfg) == dict(by_epoch=True, max_epochs=100, val_interval=10)
    assert cfg.auto_scale_lr == dict(base_batch_size=256)
    best = dict(hand='hand/PA-MPJPE', face='face/3DRMSE')[RECIPES[name][0]]
    checkpoint = cfg.default_hooks.checkpoint
    assert (checkpoint.save_best, checkpoint.rule, checkpoint.interval) == (best, 'less', 10)


def test_every_parameter_is_decayed():
    optimizer = build_optim_wrapper(build('hand_moganet_t'), recipe('hand_moganet_t').optim_wrapper).optimizer
    assert type(optimizer) is torch.optim.Adam
    assert {(group['lr'], group['weight_decay']) for group in optimizer.param_groups} == {(1e-4, 1e-4)}
    count = sum(p.numel() for group in optimizer.param_groups for p in group['params'])
    assert count == 6_476_441


def test_rate_falls_once_after_60_epochs():
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-4)
    scheduler = PARAM_SCHEDULERS.build(
        dict(recipe('face_moganet_t').param_scheduler), default_args=dict(optimizer=optimizer, epoch_length=1)
    )
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    assert rates == pytest.approx([1e-4] * 60 + [1e-5] * 40)


@pytest.mark.parametrize(('name', 'trained'), [('hand_moganet_t', True), ('hand_resnet18', False)])
def test_norms_of_moganet_train_and_those_of_resnet_keep_their_statistics(name, trained):
    model = build(name, 'cpu').train()
    norms = [m for m in model.backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert norms
    assert {norm.training for norm in norms} == {trained}
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_building_by_mmengine_s_registry_says_nothing():
    """MMEngine finds the scope's registries; otherwise it warns at every build."""
    script = f"""
from mmengine.registry import MODELS, init_default_scope
from moganet.run.config import load_config
cfg = load_config({str(CONFIGS / 'hand_moganet_t.py')!r})
init_default_scope('mogapose')
print(type(MODELS.build(cfg.model)).__name__)
"""
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == 'SMPLXImageBodyModelEstimator'
    assert 'registry' not in done.stderr
