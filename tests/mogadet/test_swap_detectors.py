"""MogaNet in mmdet's own configs, as ``moganet swap`` writes them: built, one training step, one prediction."""

import pytest
import torch

from helpers import swapping
from moganet.swap import probe
from moganet.swap.command import load_base

ALL, LAST_THREE, LAST = (0, 1, 2, 3), (1, 2, 3), (3,)
# Config of mmdet, the stages that replace its backbone's maps, the keys of its channels, and their new values.
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


@pytest.mark.parametrize(
    ('name', 'stages', 'place', 'channels'),
    [*QUICK, *(pytest.param(*row, marks=pytest.mark.slow) for row in SLOW)],
    ids=[row[0].partition('/')[0] for row in QUICK + SLOW],
)
def test_swapped_detector_trains_and_predicts(name, stages, place, channels, tmp_path):
    from mmdet.testing import demo_mm_inputs

    base = f'mmdet::{name}.py'
    with probe.scope_of(load_base(base)):
        cfg = swapping.swapped(base, tmp_path)
        assert cfg.model.backbone.out_indices == stages
        assert swapping.look_up(cfg.model, place) == channels
        model = swapping.build(cfg.model)
        batch = demo_mm_inputs(
            2,
            (3, SIDE, SIDE),
            num_items=[3, 2],
            num_classes=5,
            use_box_type=True,
            with_mask='loss_mask' in str(cfg.model),
        )
        for sample in batch['data_samples']:
            sample.set_metainfo(dict(batch_input_shape=(SIDE, SIDE), pad_shape=(SIDE, SIDE), scale_factor=(1.0, 1.0)))
        swapping.check_training_step(model, batch)

        model.eval()
        with torch.no_grad():
            predictions = model.test_step(batch)
        assert len(predictions) == 2
        for sample in predictions:
            assert torch.isfinite(sample.pred_instances.scores).all()
            assert sample.pred_instances.bboxes.shape == (len(sample.pred_instances.labels), 4)
