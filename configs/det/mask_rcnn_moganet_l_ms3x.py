"""Mask R-CNN with MogaNet-L, multi-scale 3x. Expected: 50.6 box AP, 44.6 mask AP (released README).

tools/dist_train.sh configs/det/mask_rcnn_moganet_l_ms3x.py 8
"""

_base_ = 'mask_rcnn_moganet_t_ms3x.py'

model = dict(
    backbone=dict(arch='large', drop_path_rate=0.3, init_cfg=dict(checkpoint='moganet://large_1k')),
    neck=dict(in_channels=[64, 160, 320, 640]),
)
