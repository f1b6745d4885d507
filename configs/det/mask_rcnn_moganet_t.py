"""Mask R-CNN with MogaNet-T, 1x. Parent of the multi-scale 3x recipe too.

    tools/dist_train.sh configs/det/mask_rcnn_moganet_t.py 8

Paper: 8 GPUs (A100) x 2 images. Expected: 42.6 box AP, 39.1 mask AP (released README; paper Table A9).
"""

_base_ = 'mask_rcnn_moganet_xt.py'

model = dict(
    backbone=dict(arch='tiny', drop_path_rate=0.1, init_cfg=dict(checkpoint='moganet://tiny_1k')),
    neck=dict(in_channels=[32, 64, 128, 256]),
)
