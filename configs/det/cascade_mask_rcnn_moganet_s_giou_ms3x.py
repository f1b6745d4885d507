"""Cascade Mask R-CNN with MogaNet-S and GIoU heads on COCO, multi-scale, 36 epochs (3x). Parent of the sizes s to xl.

    tools/dist_train.sh configs/det/cascade_mask_rcnn_moganet_s_giou_ms3x.py 8

Paper: 8 GPUs (A100) x 2 images, float32. Expected: 51.6 box AP, 45.1 mask AP (paper Table A10; released README 51.7).

Differences to cascade_mask_rcnn_moganet_s_ms3x.py: class-specific box heads of four convolutions and one linear layer,
a GIoU loss on decoded boxes, and a warm-up of 1,000 iterations. These heads have SyncBN, and here it takes effect.
"""

_base_ = 'cascade_mask_rcnn_moganet_s_ms3x.py'

box_head = dict(
    type='ConvFCBBoxHead',
    num_shared_convs=4,
    num_shared_fcs=1,
    in_channels=256,
    conv_out_channels=256,
    fc_out_channels=1024,
    roi_feat_size=7,
    num_classes=80,
    reg_class_agnostic=False,
    reg_decoded_bbox=True,
    norm_cfg=dict(type='SyncBN', requires_grad=True),
    loss_cls=dict(type='CrossEntropyLoss', use_sigmoid=False, loss_weight=1.0),
    loss_bbox=dict(type='GIoULoss', loss_weight=10.0),
)
bbox_head = [
    dict(box_head, bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.1, 0.1, 0.2, 0.2])),
    dict(box_head, bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.05, 0.05, 0.1, 0.1])),
    dict(box_head, bbox_coder=dict(type='DeltaXYWHBBoxCoder', target_stds=[0.033, 0.033, 0.067, 0.067])),
]
model = dict(roi_head=dict(bbox_head=bbox_head))

param_scheduler = _base_.param_scheduler
param_scheduler[0]['end'] = 1000  # LinearLR
