"""Mask R-CNN with MogaNet-S, 1x. Expected: 46.6 box AP, 42.2 mask AP (released README; paper 46.7).

tools/dist_train.sh configs/det/mask_rcnn_moganet_s.py 8
"""

_base_ = 'mask_rcnn_moganet_xt.py'

model = dict(
    backbone=dict(arch='small', drop_path_rate=0.1, init_cfg=dict(checkpoint='moganet://small_1k')),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
