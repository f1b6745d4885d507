"""Mask R-CNN with MogaNet-S, multi-scale 3x. Expected: 48.5 box AP, 43.1 mask AP (released README).

tools/dist_train.sh configs/det/mask_rcnn_moganet_s_ms3x.py 8
"""

_base_ = 'mask_rcnn_moganet_t_ms3x.py'

model = dict(
    backbone=dict(arch='small', init_cfg=dict(checkpoint='moganet://small_1k')),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
