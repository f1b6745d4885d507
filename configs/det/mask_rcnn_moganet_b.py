"""Mask R-CNN with MogaNet-B, 1x. Expected: 47.9 box AP, 43.2 mask AP (paper; released README 49.0, 43.8).

tools/dist_train.sh configs/det/mask_rcnn_moganet_b.py 8
"""

_base_ = 'mask_rcnn_moganet_xt.py'

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.2, init_cfg=dict(checkpoint='moganet://base_1k')),
    neck=dict(in_channels=[64, 160, 320, 512]),
)
optim_wrapper = dict(optimizer=dict(lr=1e-4))
