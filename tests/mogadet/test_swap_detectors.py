"""MogaNet in mmdet's own configs, as ``moganet swap`` writes them: built, one training step, one prediction."""

import math
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper

from moganet import probe, swap
from moganet.backbone import MogaNet
from moganet.config import walk

TINY = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2))
ALL, LAST_THREE, LAST = (0, 1, 2, 3), (1, 2, 3), (3,)
# Config of mmdet, the stages that stand for its backbone's maps, where its channels are named, and what they become.
NECK = 'neck.in_channels'
QUICK = [
    ('faster_rcnn/faster-rcnn_r50_fpn_1x_coco', ALL, NECK, [8, 16, 24, 32]),
    ('rtmdet/rtmdet_tiny_8xb32-300e_coco', LAST_THREE, NECK, [16, 24, 32]),
    ('deformable_detr/deformable-detr_r50_16xb2-50e_coco', LAST_THREE, NECK, [16, 24, 32]),
    ('mask2former/mask2former_r50_8xb2-lsj-50e_coco', ALL, 'panoptic_head.in_channels', [8, 16, 24, 32]),
]
SLOW = [
    ('fcos/fcos_r50-caffe_fpn_gn-head_1x_coco', ALL, NECK, [8, 16, 24, 32]),
    ('atss/atss_r50_fpn_1x_coco', ALL, NECK, [8, 16, 24, 32]),
    ('gfl/gfl_r50_fpn_1x_coco', ALL, NECK, [8, 16, 24, 32]),
    ('dino/dino-4scale_r50_8xb2-12e_coco', LAST_THREE, NECK, [16, 24, 32]),
    ('solov2/solov2_r50_fpn_1x_coco', ALL, NECK, [8, 16, 24, 32]),
    ('yolox/yolox_tiny_8xb8-300e_coco', LAST_THREE, NECK, [16, 24, 32]),
    ('sparse_rcnn/sparse-rcnn_r50_fpn_1x_coco', ALL, NECK, [8, 16, 24, 32]),
    ('point_rend/point-rend_r50-caffe_fpn_ms-1x_coco', ALL, NECK, [8, 16, 24, 32]),
    ('detr/detr_r50_8xb2-150e_coco', LAST, NECK, [32]),
    ('yolof/yolof_r50-c5_8xb8-1x_coco', LAST, NECK, 32),
    ('yolo/yolov3_d53_8xb8-320-273e_coco', LAST_THREE, NECK, [32, 24, 16]),
    ('hrnet/faster-rcnn_hrnetv2p-w18-1x_coco', ALL, NECK, [8, 16, 24, 32]),
    ('swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco', ALL, NECK, [8, 16, 24, 32]),
]
SIDE = 128
FEWER = dict(num_queries=20, num_proposals=20, num_dn_queries=4, num_points=64, nms_pre=50, max_per_img=20)


def shrink(model: dict) -> None:
    """Fewer queries, layers, points and proposals, no padding: what decides the time of a step is not tested here."""
    model['data_preprocessor'].pop('batch_augments', None)

    def visit(node):
        for key, value in FEWER.items():
            if type(node.get(key)) is int:
                node[key] = value
        for key in ('encoder', 'decoder', 'transformer_decoder'):
            if 'num_layers' in (node.get(key) or {}):
                node[key]['num_layers'] = 1

    walk(model, visit)


def swapped(name: str, folder: Path) -> Config:
    """The config that the command would write, read again."""
    base = f'mmdet::{name}.py'
    original = swap.load(base)
    child = folder / 'child.py'
    child.write_text(swap.config_text(base, original, swap.plan(original, TINY), name))
    return Config.fromfile(child)


@pytest.mark.parametrize(
    'name, stages, place, channels',
    [*QUICK, *(pytest.param(*row, marks=pytest.mark.slow) for row in SLOW)],
    ids=[row[0].partition('/')[0] for row in QUICK + SLOW],
)
def test_swapped_detector_trains_and_predicts(name, stages, place, channels, tmp_path):
    from mmdet.registry import MODELS
    from mmdet.testing import demo_mm_inputs

    with probe.scope_of(swap.load(f'mmdet::{name}.py')):
        cfg = swapped(name, tmp_path)
        assert cfg.model.backbone.out_indices == stages
        part, key = place.split('.')
        assert cfg.model[part][key] == channels
        shrink(cfg.model)
        model = MODELS.build(cfg.model)
        model.init_weights()
        assert isinstance(model.backbone, MogaNet)

        batch = demo_mm_inputs(2, (3, SIDE, SIDE), num_items=[3, 2], num_classes=5, use_box_type=True,
                               with_mask='loss_mask' in str(cfg.model))  # fmt: skip
        for sample in batch['data_samples']:
            sample.set_metainfo(dict(batch_input_shape=(SIDE, SIDE), pad_shape=(SIDE, SIDE), scale_factor=(1.0, 1.0)))
        model.train()
        before = {key: value.detach().clone() for key, value in model.backbone.named_parameters()}
        losses = model.train_step(batch, OptimWrapper(torch.optim.AdamW(model.parameters(), lr=1e-3)))
        assert math.isfinite(losses['loss'].item()) and losses['loss'].item() > 0
        assert [key for key, value in model.backbone.named_parameters() if torch.equal(value, before[key])] == []

        model.eval()
        with torch.no_grad():
            predictions = model.test_step(batch)
        assert len(predictions) == 2
        for sample in predictions:
            assert torch.isfinite(sample.pred_instances.scores).all()
            assert sample.pred_instances.bboxes.shape == (len(sample.pred_instances.labels), 4)
