"""The recipes against the released ones: values, pipelines, head, rates, targets."""

import copy
import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from mmpose.registry import KEYPOINT_CODECS, MODELS
from torch import nn

from helpers.cases import for_each
from moganet.run.config import load_config

CONFIGS = Path(__file__).parents[2] / 'configs/pose'
# Config, then: arch, width of stage 4, drop path, mixed precision, from the released configs.
RECIPES = """
moganet_xt_256x192 xtiny 192 0.1  float32
moganet_xt_384x288 xtiny 192 0.1  float32
moganet_t_256x192  tiny  256 0.15 float32
moganet_t_384x288  tiny  256 0.15 float32
moganet_s_256x192  small 512 0.2  float32
moganet_s_384x288  small 512 0.2  float16
moganet_b_256x192  base  512 0.3  float32
moganet_b_384x288  base  512 0.4  float32
"""
ROWS = [line.split() for line in RECIPES.split('\n') if line]
NAMES = [row[0] for row in ROWS]
SMALL, LARGE = 'moganet_xt_256x192', 'moganet_xt_384x288'


@functools.cache
def recipe(name: str) -> Config:
    """The config of a recipe. Tests share it and must not change it."""
    return load_config(CONFIGS / f'{name}.py')


@pytest.fixture(autouse=True)
def mmpose_scope():
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield


def build(name: str) -> nn.Module:
    with torch.device('meta'):
        return MODELS.build(copy.deepcopy(recipe(name).model))


def plain(node: object) -> object:
    """A part of a config without keys of its origin, and with lists instead of tuples."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items() if key != '_scope_'}
    return [plain(value) for value in node] if isinstance(node, list | tuple) else node


def codec(name: str) -> dict:
    height, width = map(int, name.rsplit('_', 1)[1].split('x'))
    return dict(type='MSRAHeatmap', input_size=[width, height], heatmap_size=[width // 4, height // 4], sigma=2)


def test_every_recipe_is_tested():
    configs = {path.stem for path in CONFIGS.glob('*.py') if not path.stem.endswith('mini')}
    assert configs == set(NAMES)


@for_each(map(tuple, ROWS))
def test_recipe_has_the_released_values(name, arch, channels, drop_path, precision):
    cfg = recipe(name)
    assert plain(cfg.model.backbone) == dict(
        type='MogaNet',
        arch=arch,
        drop_path_rate=float(drop_path),
        out_indices=[3],
        init_cfg=dict(type='Pretrained', checkpoint=f'moganet://{arch}_1k'),
    )
    assert plain(cfg.model.head) == dict(
        type='HeatmapHead',
        in_channels=int(channels),
        out_channels=17,
        loss=dict(type='KeypointMSELoss', use_target_weight=True),
        decoder=codec(name),
    )
    amp = dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic') if precision == 'float16' else {}
    assert plain(cfg.optim_wrapper) == dict(amp, optimizer=dict(type='Adam', lr=1e-3))


@for_each(NAMES)
def test_recipe_keeps_what_all_released_configs_share(name):
    cfg = recipe(name)
    assert plain(cfg.param_scheduler) == [
        dict(type='LinearLR', begin=0, end=500, start_factor=0.001, by_epoch=False),
        dict(type='MultiStepLR', begin=0, end=210, milestones=[170, 200], gamma=0.1, by_epoch=True),
    ]
    assert plain(cfg.train_cfg) == dict(by_epoch=True, max_epochs=210, val_interval=10)
    loaders = (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader)
    assert [(loader.batch_size, loader.num_workers) for loader in loaders] == [(32, 2)] * 3
    assert cfg.auto_scale_lr == dict(base_batch_size=256)
    data = cfg.model.data_preprocessor
    assert (data.mean, data.std) == ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert data.bgr_to_rgb is True
    assert plain(cfg.default_hooks.checkpoint) == dict(
        type='CheckpointHook', interval=10, save_best='coco/AP', rule='greater', max_keep_ckpts=3
    )
    assert cfg.custom_hooks == [dict(type='ShareFirstNorms')]
    assert not cfg.get('model_wrapper_cfg')  # broadcast_buffers stays off
    assert cfg.randomness == dict(seed=0)


@for_each(NAMES)
def test_pipelines_are_the_released_ones(name):
    cfg, size = recipe(name), codec(name)['input_size']
    load = [dict(type='LoadImage'), dict(type='GetBBoxCenterScale')]
    assert plain(cfg.train_dataloader.dataset.pipeline) == [
        *load,
        dict(type='ShiftBBox', input_size=size),
        dict(type='RandomFlip', direction='horizontal'),
        dict(type='RandomHalfBody', min_upper_keypoints=3, upper_prioritized_prob=0.6915),
        dict(type='ScaleRotateBBox'),
        dict(type='TopdownAffine', input_size=size),
        dict(type='GenerateTarget', encoder=codec(name)),
        dict(type='PackPoseInputs'),
    ]
    test = [*load, dict(type='TopdownAffine', input_size=size), dict(type='PackPoseInputs')]
    assert plain(cfg.val_dataloader.dataset.pipeline) == plain(cfg.test_dataloader.dataset.pipeline) == test


def test_defaults_of_mmpose_are_what_the_recipe_relies_on():
    from mmpose.datasets.transforms import GetBBoxCenterScale, RandomFlip, RandomHalfBody

    assert GetBBoxCenterScale().padding == 1.25
    half = RandomHalfBody()
    assert (half.min_total_keypoints, half.min_lower_keypoints, half.padding, half.prob) == (9, 3, 1.5, 0.3)
    assert RandomFlip().prob == 0.5


@for_each(NAMES)
def test_evaluation_is_the_released_one(name):
    cfg = recipe(name)
    assert plain(cfg.model.test_cfg) == dict(flip_test=True, flip_mode='heatmap', shift_heatmap=True)
    dataset = cfg.test_dataloader.dataset
    assert (dataset.type, dataset.data_root, dataset.data_prefix) == ('CocoDataset', 'data/coco/', {'img': 'val2017/'})
    assert dataset.ann_file == 'annotations/person_keypoints_val2017.json'
    assert cfg.train_dataloader.dataset.ann_file == 'annotations/person_keypoints_train2017.json'
    folder = 'data/coco/person_detection_results/'
    assert dataset.bbox_file == f'{folder}COCO_val2017_detections_AP_H_56_person.json'
    assert dataset.get('filter_cfg') is None  # no box is dropped for its score
    ann_file = 'data/coco/annotations/person_keypoints_val2017.json'
    assert plain(cfg.test_evaluator) == plain(cfg.val_evaluator) == dict(type='CocoMetric', ann_file=ann_file)
    from mmpose.evaluation import CocoMetric

    metric = CocoMetric()
    assert (metric.nms_mode, metric.nms_thr, metric.keypoint_score_thr) == ('oks_nms', 0.9, 0.2)
    assert metric.score_mode == 'bbox_keypoint'


def test_data_root_moves_the_detected_boxes_too():
    cfg = load_config(CONFIGS / f'{LARGE}.py', dict(data_root='/data/people'))
    name = 'person_detection_results/COCO_val2017_detections_AP_H_56_person.json'
    assert cfg.test_dataloader.dataset.bbox_file == f'/data/people/{name}'
    assert cfg.val_evaluator.ann_file == '/data/people/annotations/person_keypoints_val2017.json'


@for_each(NAMES)
def test_model_has_plain_batch_norm_and_trains_whole(name):
    model = build(name).train()
    norms = [m for m in model.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert {type(norm) for norm in norms} == {nn.BatchNorm2d}
    assert all(norm.training and norm.eps == 1e-5 for norm in norms)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_head_is_three_deconvolutions_and_a_convolution():
    head = build('moganet_b_384x288').head
    kinds = [
        (type(m).__name__, m.kernel_size, m.stride, m.out_channels, m.bias is not None)
        for m in head.modules()
        if isinstance(m, nn.Conv2d | nn.ConvTranspose2d)
    ]
    assert kinds == [('ConvTranspose2d', (4, 4), (2, 2), 256, False)] * 3 + [('Conv2d', (1, 1), (1, 1), 17, True)]


def test_nothing_is_decayed_and_all_has_one_rate():
    optimizer = build_optim_wrapper(build(SMALL), recipe(SMALL).optim_wrapper).optimizer
    assert {(group['lr'], group['weight_decay']) for group in optimizer.param_groups} == {(1e-3, 0)}
    assert type(optimizer) is torch.optim.Adam
    assert optimizer.defaults['betas'] == (0.9, 0.999)


def test_rate_warms_up_and_falls_as_released():
    length, epochs, warmup = 10, 210, 500
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=1e-3)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(s), default_args=dict(optimizer=optimizer, epoch_length=length))
        for s in recipe(SMALL).param_scheduler
    ]
    rates = []
    for step in range(1, epochs * length + 1):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            if not scheduler.by_epoch or step % length == 0:
                scheduler.step()
    # mmcv reaches the full rate one iteration later than MMEngine.
    assert rates[:warmup] == pytest.approx([1e-3 * (0.001 + 0.999 * i / (warmup - 1)) for i in range(warmup)], rel=1e-6)
    falls = [1e-3 * 0.1 ** ((epoch >= 170) + (epoch >= 200)) for epoch in range(epochs)]
    assert rates[warmup::length] == pytest.approx(falls[warmup // length :], rel=1e-6)


@pytest.mark.parametrize('name', [SMALL, LARGE])
def test_targets_are_gaussians_of_two_cells_at_any_size(name):
    encoder = KEYPOINT_CODECS.build(dict(recipe(name).train_pipeline[-2]['encoder']))
    x, y = 101.0, 150.0  # pixels of the input: cell 25, 37 or 38
    target = encoder.encode(np.array([[[x, y]]], np.float32), np.ones((1, 1), np.float32))
    heatmap = target['heatmaps'][0]
    width, height = codec(name)['heatmap_size']
    assert heatmap.shape == (height, width)
    rows, columns = np.mgrid[:height, :width]
    centre = (int(x / 4 + 0.5), int(y / 4 + 0.5))
    squares = (columns - centre[0]) ** 2 + (rows - centre[1]) ** 2
    near = (abs(columns - centre[0]) <= 6) & (abs(rows - centre[1]) <= 6)
    assert np.allclose(heatmap, np.where(near, np.exp(-squares / 8), 0), atol=1e-6)
