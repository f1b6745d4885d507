"""Overfitting: trained on four photographs of COCO, the detector finds nearly all of their 14 people."""

import pytest

from helpers.tool_runs import ROOT
from moganet.run import engine
from moganet.run.config import load_config

DATA = ROOT.parent / 'shared/data/coco_real'
# Return the mini recipe with more pixels and fewer channels, without augmentation.
CONFIG = """
_base_ = '{root}/configs/det/mask_rcnn_moganet_xt_mini.py'
roi = dict(out_channels=64)
model = dict(
    neck=dict(out_channels=64),
    rpn_head=dict(in_channels=64, feat_channels=64),
    roi_head=dict(bbox_roi_extractor=roi, bbox_head=dict(in_channels=64, num_classes=1),
                  mask_roi_extractor=roi, mask_head=dict(in_channels=64, num_classes=1)))
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='Resize', scale=(320, 320), keep_ratio=True),
    dict(type='PackDetInputs'),
]
test_pipeline = _base_.test_pipeline
test_pipeline[1]['scale'] = (320, 320)
people = dict(data_root='{data}', ann_file='test_coco.json', data_prefix=dict(img=''),
              metainfo=dict(classes=['person']))
train_dataloader = dict(batch_size=4, dataset=dict(
    _delete_=True, type='RepeatDataset', times=30,
    dataset=dict(type='CocoDataset', pipeline=train_pipeline, **people)))
val_dataloader = dict(batch_size=4, dataset=dict(pipeline=test_pipeline, **people))
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='{data}/test_coco.json')
test_evaluator = val_evaluator
param_scheduler = [dict(type='OneCycleLR', eta_max=1e-3, total_steps=4, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=4, val_interval=4)
"""


@pytest.mark.slow
@pytest.mark.skipif(not DATA.is_dir(), reason='four photographs of COCO lie beside some checkouts only')
def test_four_photographs_are_learnt(tmp_path):
    config = tmp_path / 'people.py'
    config.write_text(CONFIG.format(root=ROOT, data=DATA))
    cfg = load_config(config)
    cfg.work_dir = str(tmp_path / 'run')
    runner = engine.build_runner(cfg, ('train_dataloader', 'val_dataloader'))
    runner.train()
    assert runner.message_hub.get_scalar('val/coco/bbox_mAP_50').current() > 0.9
