"""Mask R-CNN with MogaNet-L, 1x. Expected: 49.4 box AP, 44.1 mask AP (paper; released README 44.2).

tools/dist_train.sh configs/det/mask_rcnn_moganet_l.py 8
"""

_base_ = 'mask_rcnn_moganet_xt.py'

model = dict(
    backbone=dict(arch='large', drop_path_rate=0.3, init_cfg=dict(checkpoint='moganet://large_1k')),
    neck=dict(in_channels=[64, 160, 320, 640]),
)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
