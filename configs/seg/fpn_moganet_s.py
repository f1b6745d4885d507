"""Semantic FPN with MogaNet-S. Expected: 47.7 mIoU, 59.8 mAcc (released README; paper Table 5).

tools/dist_train.sh configs/seg/fpn_moganet_s.py 8
"""

_base_ = 'fpn_moganet_xt.py'

model = dict(
    backbone=dict(arch='small', drop_path_rate=0.1, init_cfg=dict(checkpoint='moganet://small_1k')),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
