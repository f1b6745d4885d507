"""The recipes against the released ones: values, pipelines, heads, rates, weight decay."""

import copy
import functools
from pathlib import Path

import mmdet
import numpy as np
import pytest
import torch
from mmdet.registry import MODELS, TRANSFORMS
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from torch import nn

from helpers.cases import for_each
from moganet.run.config import dicts, load_config

CONFIGS = Path(__file__).parents[2] / 'configs/det'

# Config, then: arch, drop path, rate, iterations of warm-up, epochs, pipeline, from the released configs.
RECIPES = """
retinanet_moganet_xt                  xtiny  0.05 1e-4 500  12 A
retinanet_moganet_t                   tiny   0.1  1e-4 500  12 A
retinanet_moganet_s                   small  0.1  1e-4 500  12 A
retinanet_moganet_b                   base   0.2  1e-4 500  12 A
retinanet_moganet_l                   large  0.3  1e-4 500  12 A
mask_rcnn_moganet_xt                  xtiny  0.05 2e-4 500  12 A
mask_rcnn_moganet_t                   tiny   0.1  2e-4 500  12 A
mask_rcnn_moganet_s                   small  0.1  2e-4 500  12 A
mask_rcnn_moganet_b                   base   0.2  1e-4 500  12 A
mask_rcnn_moganet_l                   large  0.3  1e-4 500  12 A
mask_rcnn_moganet_t_ms3x              tiny   0.1  2e-4 500  36 B
mask_rcnn_moganet_s_ms3x              small  0.1  2e-4 500  36 B
mask_rcnn_moganet_b_ms3x              base   0.3  2e-4 500  36 B
mask_rcnn_moganet_l_ms3x              large  0.3  2e-4 500  36 B
cascade_mask_rcnn_moganet_s_ms3x      small  0.1  2e-4 500  36 B
cascade_mask_rcnn_moganet_s_giou_ms3x small  0.1  2e-4 1000 36 B
cascade_mask_rcnn_moganet_b_giou_ms3x base   0.2  1e-4 1000 36 B
cascade_mask_rcnn_moganet_l_giou_ms3x large  0.3  1e-4 1000 36 B
"""
ROWS = [line.split() for line in RECIPES.split('\n') if line]
LAYERED = ('cascade_mask_rcnn_moganet_b_giou_ms3x', 'cascade_mask_rcnn_moganet_l_giou_ms3x')
# Not released: the XL row of the paper, and boxes alone.
OWN = ('cascade_mask_rcnn_moganet_xl_giou_ms3x', 'faster_rcnn_moganet_t')
NAMES = [*(row[0] for row in ROWS), *OWN]
# Deviations of the deltas of a box, per stage of a cascade.
STDS = ([0.1, 0.1, 0.2, 0.2], [0.05, 0.05, 0.1, 0.1], [0.033, 0.033, 0.067, 0.067])
MASK, RETINA = 'mask_rcnn_moganet_xt', 'retinanet_moganet_xt'
CASCADE, GIOU = 'cascade_mask_rcnn_moganet_s_ms3x', 'cascade_mask_rcnn_moganet_s_giou_ms3x'


@functools.cache
def recipe(name: str) -> Config:
    """Return the config of a recipe. The tests share it and must not change it."""
    return load_config(CONFIGS / f'{name}.py')


@pytest.fixture(autouse=True)
def mmdet_scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def build(name: str) -> nn.Module:
    with torch.device('meta'):
        return MODELS.build(copy.deepcopy(recipe(name).model))


def plain(node: object) -> object:
    """Return a part of a config without keys of origin and file access."""
    if isinstance(node, dict):
        return {key: plain(value) for key, value in node.items() if key not in ('_scope_', 'backend_args')}
    return [plain(value) for value in node] if isinstance(node, list | tuple) else node


@for_each(map(tuple, ROWS))
def test_recipe_has_the_released_values(name, arch, drop_path, rate, warmup, epochs, pipeline):
    cfg = recipe(name)
    steps = {'12': [8, 11], '36': [27, 33]}[epochs]
    assert plain(cfg.model.backbone) == dict(
        type='MogaNet',
        arch=arch,
        drop_path_rate=float(drop_path),
        out_indices=[0, 1, 2, 3],
        init_cfg=dict(type='Pretrained', checkpoint=f'moganet://{arch}_1k'),
    )
    assert plain(cfg.optim_wrapper.optimizer) == dict(
        type='AdamW', lr=float(rate), betas=[0.9, 0.999], weight_decay=0.05
    )
    assert plain(cfg.param_scheduler) == [
        dict(type='LinearLR', start_factor=0.001, by_epoch=False, begin=0, end=int(warmup)),
        dict(type='MultiStepLR', begin=0, end=int(epochs), by_epoch=True, milestones=steps, gamma=0.1),
    ]
    assert plain(cfg.train_cfg) == dict(type='EpochBasedTrainLoop', max_epochs=int(epochs), val_interval=1)
    assert plain(cfg.train_dataloader.dataset.pipeline) == dict(A=pipeline_a, B=pipeline_b)[pipeline](name)


def pipeline_a(name: str) -> list[dict]:
    masks = {} if name.startswith('retinanet') else dict(with_mask=True)
    return [
        dict(type='LoadImageFromFile'),
        dict(dict(type='LoadAnnotations', with_bbox=True), **masks),
        dict(type='Resize', scale=[1333, 800], keep_ratio=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs'),
    ]


def pipeline_b(name: str) -> list[dict]:
    sides = dict(scales=[[side, 1333] for side in range(480, 801, 32)], keep_ratio=True)
    before = dict(scales=[[400, 1333], [500, 1333], [600, 1333]], keep_ratio=True)
    crop = dict(type='RandomCrop', crop_type='absolute_range', crop_size=[384, 600], allow_negative_crop=True)
    resize = 'RandomChoiceResize'
    choices = [[dict(type=resize, **sides)], [dict(type=resize, **before), crop, dict(type=resize, **sides)]]
    return [
        dict(type='LoadImageFromFile'),
        dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
        dict(type='RandomFlip', prob=0.5),
        dict(type='RandomChoice', transforms=choices),
        dict(type='PackDetInputs'),
    ]


@for_each(NAMES)
def test_recipe_keeps_what_all_released_configs_share(name):
    cfg = recipe(name)
    loader = cfg.train_dataloader
    assert (loader.batch_size, loader.num_workers, loader.batch_sampler.type) == (2, 2, 'AspectRatioBatchSampler')
    assert cfg.auto_scale_lr == dict(enable=False, base_batch_size=16)
    assert (loader.dataset.type, loader.dataset.data_root) == ('CocoDataset', 'data/coco/')
    assert loader.dataset.ann_file == 'annotations/instances_train2017.json'
    assert cfg.val_dataloader.dataset.ann_file == 'annotations/instances_val2017.json'
    assert loader.dataset.filter_cfg == dict(filter_empty_gt=True, min_size=32)
    data = cfg.model.data_preprocessor
    assert (data.mean, data.std) == ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375])
    assert (data.bgr_to_rgb, data.pad_size_divisor) == (True, 32)
    assert plain(cfg.test_dataloader.dataset.pipeline)[1] == dict(type='Resize', scale=[1333, 800], keep_ratio=True)
    assert (cfg.optim_wrapper.type, cfg.optim_wrapper.get('clip_grad')) == ('OptimWrapper', None)  # float32
    assert cfg.randomness == dict(seed=0)
    assert cfg.default_hooks.checkpoint.save_best == 'auto'
    assert cfg.custom_hooks == [dict(type='ShareFirstNorms')]
    assert not cfg.get('model_wrapper_cfg')  # broadcast_buffers stays off


@for_each(NAMES)
def test_backbone_has_plain_batch_norm_and_trains_whole(name):
    model = build(name).train()
    norms = [m for m in model.backbone.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    assert {type(norm) for norm in norms} == {nn.BatchNorm2d}
    assert all(norm.training and norm.eps == 1e-5 for norm in norms)
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_only_the_giou_heads_have_synchronised_norms():
    for name in NAMES:
        found = {n.split('.convs')[0] for n, m in build(name).named_modules() if isinstance(m, nn.SyncBatchNorm)}
        heads = {f'roi_head.bbox_head.{stage}.shared' for stage in range(3)} if 'giou' in name else set()
        assert {part.split('_convs')[0] for part in found} == heads


def rpn_of(cfg: Config) -> dict:
    train, test = cfg.model.train_cfg, cfg.model.test_cfg
    return dict(
        boxes=plain(cfg.model.rpn_head.loss_bbox),
        border=train.rpn.allowed_border,
        thresholds=[train.rpn.assigner[key] for key in ('pos_iou_thr', 'neg_iou_thr', 'min_pos_iou')],
        low_quality=train.rpn.assigner.match_low_quality,
        sample=[train.rpn.sampler.num, train.rpn.sampler.pos_fraction],
        train=[train.rpn_proposal[key] for key in ('nms_pre', 'max_per_img')],
        test=[test.rpn[key] for key in ('nms_pre', 'max_per_img')],
        nms=[train.rpn_proposal.nms.iou_threshold, test.rpn.nms.iou_threshold],
    )


@pytest.mark.parametrize(
    ('name', 'boxes', 'border', 'proposals'),
    [
        (MASK, dict(type='L1Loss', loss_weight=1.0), -1, 1000),
        (CASCADE, dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0), 0, 2000),
        (GIOU, dict(type='SmoothL1Loss', beta=1 / 9, loss_weight=1.0), 0, 2000),
    ],
)
def test_proposals_are_as_released(name, boxes, border, proposals):
    assert rpn_of(recipe(name)) == dict(
        boxes=boxes,
        border=border,
        thresholds=[0.7, 0.3, 0.3],
        low_quality=True,
        sample=[256, 0.5],
        train=[2000, proposals],
        test=[1000, 1000],
        nms=[0.7, 0.7],
    )
    anchors = recipe(name).model.rpn_head.anchor_generator
    assert (anchors.scales, anchors.ratios, anchors.strides) == ([8], [0.5, 1.0, 2.0], [4, 8, 16, 32, 64])
    rcnn = recipe(name).model.test_cfg.rcnn
    assert (rcnn.score_thr, rcnn.nms.iou_threshold, rcnn.max_per_img, rcnn.mask_thr_binary) == (0.05, 0.5, 100, 0.5)


def test_mask_rcnn_assigns_and_regresses_as_released():
    model = recipe(MASK).model
    assigner, head = model.train_cfg.rcnn.assigner, model.roi_head.bbox_head
    assert [assigner[key] for key in ('pos_iou_thr', 'neg_iou_thr', 'min_pos_iou')] == [0.5] * 3
    assert assigner.match_low_quality is True
    assert (head.type, head.fc_out_channels, head.reg_class_agnostic) == ('Shared2FCBBoxHead', 1024, False)
    assert (head.loss_bbox.type, head.bbox_coder.target_stds) == ('L1Loss', [0.1, 0.1, 0.2, 0.2])
    mask = model.roi_head.mask_head
    assert (mask.num_convs, mask.conv_out_channels, mask.num_classes) == (4, 256, 80)
    assert model.roi_head.mask_roi_extractor.roi_layer.output_size == 14
    assert (model.train_cfg.rcnn.mask_size, model.train_cfg.rcnn.sampler.num) == (28, 512)


@pytest.mark.parametrize('name', [CASCADE, GIOU])
def test_cascade_has_three_stages_as_released(name):
    model = recipe(name).model
    assert model.roi_head.stage_loss_weights == [1, 0.5, 0.25]
    for stage, (head, rcnn) in enumerate(zip(model.roi_head.bbox_head, model.train_cfg.rcnn, strict=True)):
        assert head.bbox_coder.target_stds == STDS[stage]
        assert (head.fc_out_channels, head.num_classes, head.roi_feat_size) == (1024, 80, 7)
        thresholds = [rcnn.assigner[key] for key in ('pos_iou_thr', 'neg_iou_thr', 'min_pos_iou')]
        assert (thresholds, rcnn.assigner.match_low_quality) == ([0.5 + 0.1 * stage] * 3, False)
        assert (rcnn.sampler.num, rcnn.sampler.pos_fraction, rcnn.mask_size) == (512, 0.25, 28)
        loss = plain(head.loss_bbox)
        if name == CASCADE:
            assert (head.type, head.reg_class_agnostic) == ('Shared2FCBBoxHead', True)
            assert loss == dict(type='SmoothL1Loss', beta=1.0, loss_weight=1.0)
        else:
            assert (head.type, head.reg_class_agnostic, head.reg_decoded_bbox) == ('ConvFCBBoxHead', False, True)
            assert (head.num_shared_convs, head.num_shared_fcs, head.conv_out_channels) == (4, 1, 256)
            assert loss == dict(type='GIoULoss', loss_weight=10.0)


def test_giou_heads_are_those_of_mmdets_convnext():
    """mmdet's ConvNeXt recipe has the same heads and pipeline."""
    theirs = Config.fromfile(
        Path(mmdet.__file__).parent
        / '.mim/configs/convnext/cascade-mask-rcnn_convnext-t-p4-w7_fpn_4conv1fc-giou_amp-ms-crop-3x_coco.py',
        import_custom_modules=False,
    )
    ours = [
        dict(head, bbox_coder=dict(head.bbox_coder, target_means=[0.0] * 4))
        for head in recipe(GIOU).model.roi_head.bbox_head
    ]
    assert plain(ours) == plain(theirs.model.roi_head.bbox_head)
    assert plain(recipe(GIOU).train_pipeline) == plain(theirs.train_pipeline)
    assert plain(recipe(GIOU).param_scheduler) == plain(theirs.param_scheduler)


def test_retinanet_is_as_released():
    model = recipe(RETINA).model
    neck, head, train, test = model.neck, model.bbox_head, model.train_cfg, model.test_cfg
    assert (neck.start_level, neck.add_extra_convs, neck.num_outs) == (1, 'on_input', 5)
    anchors = head.anchor_generator
    assert (anchors.octave_base_scale, anchors.scales_per_octave, anchors.strides) == (4, 3, [8, 16, 32, 64, 128])
    assert (head.stacked_convs, head.loss_cls.type, head.loss_cls.gamma, head.loss_cls.alpha) == (
        4,
        'FocalLoss',
        2,
        0.25,
    )
    assert head.loss_bbox.type == 'L1Loss'
    assert [train.assigner[key] for key in ('pos_iou_thr', 'neg_iou_thr', 'min_pos_iou')] == [0.5, 0.4, 0]
    assert (test.nms_pre, test.score_thr, test.nms.iou_threshold, test.max_per_img) == (1000, 0.05, 0.5, 100)


def decays(name: str) -> dict[str, float]:
    """Return the weight decay of every parameter in the optimizer."""
    model = build(name)
    optimizer = build_optim_wrapper(model, recipe(name).optim_wrapper).optimizer
    names = {parameter: name for name, parameter in model.named_parameters()}
    assert {group['lr'] for group in optimizer.param_groups} == {recipe(name).optim_wrapper.optimizer.lr}
    return {names[p]: group['weight_decay'] for group in optimizer.param_groups for p in group['params']}


@for_each([MASK, RETINA, CASCADE, GIOU, 'faster_rcnn_moganet_t'])
def test_weight_decay_spares_what_has_the_released_words_in_its_name(name):
    found = decays(name)
    assert found == {
        key: 0.0 if any(word in key for word in ('layer_scale', 'scale', 'norm')) else 0.05 for key in found
    }
    # Norms whose names lack 'norm', and biases.
    stem = [f'backbone.patch_embed1.projection.{i}.{what}' for i in (1, 4) for what in ('weight', 'bias')]
    assert [found[key] for key in (*stem, 'backbone.blocks1.0.attn.gate.bias')] == [0.05] * 5
    assert found['backbone.norm4.weight'] == found['backbone.blocks2.0.mlp.sigma.scale'] == 0.0
    assert found['backbone.patch_embed2.norm.bias'] == 0.0
    if name == GIOU:
        assert found['roi_head.bbox_head.0.shared_convs.0.bn.weight'] == 0.05


@for_each([row[0] for row in ROWS])
def test_only_cascade_b_and_l_scale_their_rates_by_layer(name):
    layered = recipe(name).optim_wrapper.get('constructor') == 'LayerDepthOptimWrapperConstructor'
    assert layered == (name in LAYERED)
    keys = recipe(name).optim_wrapper.paramwise_cfg
    assert keys == dict(layer_decay_rate=0.8) if layered else set(keys.custom_keys) == {'layer_scale', 'scale', 'norm'}


@pytest.mark.parametrize(('name', 'warmup', 'epochs'), [(MASK, 500, 12), (GIOU, 1000, 36)])
def test_rate_warms_up_and_falls_as_released(name, warmup, epochs):
    cfg, length = recipe(name), 100
    top = cfg.optim_wrapper.optimizer.lr
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=top)
    schedulers = [
        PARAM_SCHEDULERS.build(dict(s), default_args=dict(optimizer=optimizer, epoch_length=length))
        for s in cfg.param_scheduler
    ]
    rates = []
    for step in range(1, epochs * length + 1):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        for scheduler in schedulers:
            if not scheduler.by_epoch or step % length == 0:
                scheduler.step()
    # mmcv reaches the full rate one iteration later than MMEngine.
    rise = [top * (0.001 + 0.999 * i / (warmup - 1)) for i in range(warmup)]
    assert rates[:warmup] == pytest.approx(rise, rel=1e-6)
    first, second = {12: (8, 11), 36: (27, 33)}[epochs]
    falls = [top * 0.1 ** ((epoch >= first) + (epoch >= second)) for epoch in range(epochs)]
    assert rates[warmup::length] == pytest.approx(falls[warmup // length :], rel=1e-6)


def test_multi_scale_images_have_the_released_sizes(tmp_path):
    steps = [step for step in recipe(CASCADE).train_pipeline if not step['type'].startswith(('Load', 'Pack'))]
    transforms = [TRANSFORMS.build(step) for step in copy.deepcopy(steps)]
    shorts, whole = set(), 0
    for seed in range(60):
        np.random.seed(seed)
        results = dict(img=np.zeros((480, 640, 3), np.uint8), img_shape=(480, 640), ori_shape=(480, 640))
        for transform in transforms:
            results = transform(results)
        height, width = results['img_shape']
        assert max(height, width) <= 1333
        whole += abs(width / height - 4 / 3) < 0.01
        if max(height, width) < 1333:
            shorts.add(min(height, width))
    assert shorts <= set(range(480, 801, 32))
    assert len(shorts) > 8
    assert 15 < whole < 45  # half of the images are not cropped


def test_xl_is_l_from_a_run_on_imagenet_21k():
    ours, large = (recipe(f'cascade_mask_rcnn_moganet_{size}_giou_ms3x') for size in ('xl', 'l'))
    pretraining = load_config(CONFIGS.parent / 'cls/moganet_xl_in21k.py')
    start = f'work_dirs/moganet_xl_in21k/epoch_{pretraining.train_cfg.max_epochs}.pth'
    assert ours.model.backbone.init_cfg == dict(type='Pretrained', checkpoint=start)
    assert ours.model.backbone.arch == pretraining.model.backbone.arch == 'xlarge'
    for key in ('optim_wrapper', 'param_scheduler', 'train_cfg', 'train_dataloader'):
        assert ours[key] == large[key]


def test_boxes_without_masks_ask_for_no_masks():
    cfg = recipe('faster_rcnn_moganet_t')
    assert not any('with_mask' in node for node in dicts(cfg.train_dataloader))
    assert cfg.val_evaluator.metric == 'bbox'
    assert not build('faster_rcnn_moganet_t').with_mask
