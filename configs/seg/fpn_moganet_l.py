"""Semantic FPN with MogaNet-L. Expected: 50.2 mIoU, 63.0 mAcc (released README).

tools/dist_train.sh configs/seg/fpn_moganet_l.py 8
"""

_base_ = 'fpn_moganet_xt.py'

model = dict(
    backbone=dict(arch='large', drop_path_rate=0.3, init_cfg=dict(checkpoint='moganet://large_1k')),
    neck=dict(in_channels=[64, 160, 320, 640]),
)
