"""Cascade Mask R-CNN with MogaNet-L, GIoU heads, MS 3x. Expected: 53.3 box AP, 46.1 mask AP (paper; no weights).

tools/dist_train.sh configs/det/cascade_mask_rcnn_moganet_l_giou_ms3x.py 8
"""

_base_ = 'cascade_mask_rcnn_moganet_b_giou_ms3x.py'

model = dict(
    backbone=dict(arch='large', drop_path_rate=0.3, init_cfg=dict(checkpoint='moganet://large_1k')),
    neck=dict(in_channels=[64, 160, 320, 640]),
)
