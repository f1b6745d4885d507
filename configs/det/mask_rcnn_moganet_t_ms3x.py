"""Mask R-CNN with MogaNet-T on COCO, multi-scale, 36 epochs (3x). Parent of the sizes t to l.

    tools/dist_train.sh configs/det/mask_rcnn_moganet_t_ms3x.py 8

8 GPUs x 2 images, float32. Expected: 45.3 box AP, 40.7 mask AP (released README; no table of the paper).

Differences to mask_rcnn_moganet_t.py: sizes and crops of the training images, the schedule, and a rate of 2e-4 for b
and l too. B has drop path 0.3 here, 0.2 in the other recipes.
"""

_base_ = 'mask_rcnn_moganet_t.py'

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

param_scheduler = _base_.param_scheduler
param_scheduler[1]['end'] = 36  # MultiStepLR
param_scheduler[1]['milestones'] = [27, 33]  # MultiStepLR
train_cfg = dict(max_epochs=36)
