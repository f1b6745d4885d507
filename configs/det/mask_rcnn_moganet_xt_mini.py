"""Mask R-CNN with MogaNet-XT on the mini data, from scratch: scanned digits on photographs, in minutes on two cores.

    python tools/train.py configs/det/mask_rcnn_moganet_xt_mini.py

The recipe of mask_rcnn_moganet_xt.py with another pipeline and schedule: 128 pixels on the long edge, 30 epochs in one
cycle, no flip, since a mirrored digit is no digit. Neck and heads are narrower and read fewer regions; with the
paper's, an iteration takes four times as long. Expected on the 50 validation images: at least 60 box AP and 55 mask AP
at IoU 0.5.
"""

_base_ = 'mask_rcnn_moganet_xt.py'

model = dict(
    backbone=dict(init_cfg=None),
    neck=dict(out_channels=128),
    rpn_head=dict(in_channels=128, feat_channels=128, anchor_generator=dict(scales=[4])),
    roi_head=dict(
        bbox_roi_extractor=dict(out_channels=128),
        bbox_head=dict(in_channels=128, fc_out_channels=512, num_classes=10),
        mask_roi_extractor=dict(out_channels=128),
        mask_head=dict(in_channels=128, conv_out_channels=64, num_classes=10),
    ),
    train_cfg=dict(rpn_proposal=dict(nms_pre=500, max_per_img=200), rcnn=dict(sampler=dict(num=64))),
    test_cfg=dict(rpn=dict(nms_pre=500, max_per_img=200)),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='RandomChoiceResize', scales=[(112, 112), (128, 128), (144, 144)], keep_ratio=True),
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(128, 128), keep_ratio=True),
    dict(type='LoadAnnotations', with_bbox=True, with_mask=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')),
]
train_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root='data/mini/det/',
        metainfo=dict(classes=['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']),
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    batch_size=8,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root='data/mini/det/',
        metainfo=dict(classes=['0', '1', '2', '3', '4', '5', '6', '7', '8', '9']),
        pipeline=test_pipeline,
    ),
)
test_dataloader = val_dataloader
val_evaluator = dict(ann_file='data/mini/det/annotations/instances_val2017.json')
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(lr=1e-3), clip_grad=dict(max_norm=10))
param_scheduler = [dict(type='OneCycleLR', eta_max=1e-3, total_steps=30, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=30, val_interval=10)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
