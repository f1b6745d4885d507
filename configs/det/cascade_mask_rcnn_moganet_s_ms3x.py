"""Cascade Mask R-CNN with MogaNet-S on COCO, multi-scale, 36 epochs (3x). Parent of the one with GIoU heads.

    tools/dist_train.sh configs/det/cascade_mask_rcnn_moganet_s_ms3x.py 8

8 GPUs x 2 images, float32. Expected: 51.4 box AP, 44.9 mask AP (released README; no table of the paper).

The heads are those of mmdet's base: class-agnostic, smooth L1. Norms, frozen stages and weight decay are as in
mask_rcnn_moganet_xt.py.
"""

_base_ = 'mmdet::cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mogadet'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type='MogaNet',
        arch='small',
        drop_path_rate=0.1,
        out_indices=(0, 1, 2, 3),
        init_cfg=dict(type='Pretrained', checkpoint='moganet://small_1k'),
    ),
    neck=dict(in_channels=[64, 128, 320, 512]),
)

# As in DETR: half of the images are resized, the other half resized, cropped and resized again.
train_scales = [
    (480, 1333),
    (512, 1333),
    (544, 1333),
    (576, 1333),
    (608, 1333),
    (640, 1333),
    (672, 1333),
    (704, 1333),
    (736, 1333),
    (768, 1333),
    (800, 1333),
]
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomFlip', prob=0.5),
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='RandomChoiceResize', scales=train_scales, keep_ratio=True)],
            [
                dict(type='RandomChoiceResize', scales=[(400, 1333), (500, 1333), (600, 1333)], keep_ratio=True),
                dict(type='RandomCrop', crop_type='absolute_range', crop_size=(384, 600), allow_negative_crop=True),
                dict(type='RandomChoiceResize', scales=train_scales, keep_ratio=True),
            ],
        ],
    ),
    dict(type='PackDetInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys=dict(layer_scale=dict(decay_mult=0.0), scale=dict(decay_mult=0.0), norm=dict(decay_mult=0.0))
    ),
)
param_scheduler = _base_.param_scheduler
param_scheduler[1]['end'] = 36  # MultiStepLR
param_scheduler[1]['milestones'] = [27, 33]  # MultiStepLR
train_cfg = dict(max_epochs=36)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3, save_best='auto'))
custom_hooks = [dict(type='ShareFirstNorms')]
randomness = dict(seed=0)
