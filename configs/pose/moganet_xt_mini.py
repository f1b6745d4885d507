"""Top-down 2D pose with MogaNet-XT from scratch on the mini data, articulated figures, in minutes on two cores.

    python tools/train.py configs/pose/moganet_xt_mini.py

The recipe of moganet_xt_256x192.py with another pipeline and schedule: persons of 96x64 in tight boxes, only flips as
augmentation, and a one-cycle learning rate. The deconvolutions are narrower. A cell of the coarse heatmap is 4 pixels
wide, about 5 % of a box, so that joints are encoded between cells (unbiased). Expected: a PCK@0.05 of at least 0.8 and
50 AP on the 310 figures of the validation set, in their true boxes.
"""

_base_ = 'moganet_xt_256x192.py'

codec = dict(
    type='MSRAHeatmap', input_size=(64, 96), heatmap_size=(16, 24), sigma=1.5, unbiased=True, blur_kernel_size=7
)
model = dict(
    backbone=dict(init_cfg=None, drop_path_rate=0.0),
    head=dict(deconv_out_channels=(128, 96, 64), decoder=codec),
)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale', padding=1.1),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale', padding=1.1),
    dict(type='TopdownAffine', input_size=codec['input_size']),
    dict(type='PackPoseInputs'),
]
# Loading takes a tenth of the training time on images this small. One worker loads ahead and sends whole batches.
train_dataloader = dict(
    batch_size=8,
    num_workers=1,
    persistent_workers=True,
    collate_fn=dict(type='packed_collate'),
    dataset=dict(data_root='data/mini/pose/', pipeline=train_pipeline),
)
# With true boxes, so that the share of correct keypoints can be computed.
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root='data/mini/pose/', bbox_file=None, pipeline=val_pipeline),
)
test_dataloader = val_dataloader
val_evaluator = [
    dict(type='CocoMetric', ann_file='data/mini/pose/annotations/person_keypoints_val2017.json'),
    dict(type='PCKAccuracy', thr=0.05, prefix='coco'),
]
test_evaluator = val_evaluator

optim_wrapper = dict(clip_grad=dict(max_norm=10))
param_scheduler = [dict(type='OneCycleLR', eta_max=1e-3, total_steps=10, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=10, val_interval=5)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
