"""Cascade Mask R-CNN with MogaNet-XL, GIoU heads, multi-scale 3x. Expected: 56.2 box AP, 48.8 mask AP (paper).

    tools/dist_train.sh configs/det/cascade_mask_rcnn_moganet_xl_giou_ms3x.py 8

Paper Table A10 starts from ImageNet-21K. Neither these weights nor the config were released. So ``init_cfg`` names the
last checkpoint of your own run of configs/cls/moganet_xl_in21k.py. Drop path is 0.4, as on ImageNet-1K; all other
values are those of size l.
"""

_base_ = 'cascade_mask_rcnn_moganet_b_giou_ms3x.py'

model = dict(
    backbone=dict(
        arch='xlarge', drop_path_rate=0.4, init_cfg=dict(checkpoint='work_dirs/moganet_xl_in21k/epoch_90.pth')
    ),
    neck=dict(in_channels=[96, 192, 480, 960]),
)
