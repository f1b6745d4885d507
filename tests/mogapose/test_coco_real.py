"""After training on four photographs of COCO, the joints of their 14 people are found nearly exactly."""

import pytest

from helpers.tool_runs import ROOT
from moganet.run import engine
from moganet.run.config import load_config

DATA = ROOT.parent / 'shared/data/coco_real'
# The mini recipe with more pixels, without augmentation; twelve of the people have joints.
CONFIG = """
_base_ = '{root}/configs/pose/moganet_xt_mini.py'
codec = dict(type='MSRAHeatmap', input_size=(96, 128),
             heatmap_size=(24, 32), sigma=1.5, unbiased=True, blur_kernel_size=7)
model = dict(head=dict(decoder=codec), test_cfg=dict(flip_test=False))
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
test_pipeline = _base_.val_pipeline
test_pipeline[1] = dict(type='GetBBoxCenterScale')
test_pipeline[2]['input_size'] = codec['input_size']
people = dict(data_root='{data}', ann_file='test_coco.json', data_prefix=dict(img=''))
train_dataloader = dict(batch_size=12, dataset=dict(
    _delete_=True, type='RepeatDataset', times=40,
    dataset=dict(type='CocoDataset', data_mode='topdown', pipeline=train_pipeline, **people)))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline, **people))
test_dataloader = val_dataloader
val_evaluator = dict(_delete_=True, type='CocoMetric', ann_file='{data}/test_coco.json')
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
    assert runner.message_hub.get_scalar('val/coco/AP').current() > 0.9
