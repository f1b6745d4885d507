"""Semantic FPN with MogaNet-B. Expected: 49.3 mIoU, 61.6 mAcc (released README).

tools/dist_train.sh configs/seg/fpn_moganet_b.py 8
"""

_base_ = 'fpn_moganet_xt.py'

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.2, init_cfg=dict(checkpoint='moganet://base_1k')),
    neck=dict(in_channels=[64, 160, 320, 512]),
)
