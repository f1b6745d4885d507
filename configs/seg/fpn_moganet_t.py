"""Semantic FPN with MogaNet-T. Expected: 43.1 mIoU, 55.4 mAcc (released README).

tools/dist_train.sh configs/seg/fpn_moganet_t.py 8
"""

_base_ = 'fpn_moganet_xt.py'

model = dict(
    backbone=dict(arch='tiny', drop_path_rate=0.1, init_cfg=dict(checkpoint='moganet://tiny_1k')),
    neck=dict(in_channels=[32, 64, 128, 256]),
)
