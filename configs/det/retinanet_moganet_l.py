"""RetinaNet with MogaNet-L, 1x. Expected: 48.7 box AP (released README; paper Table A8).

tools/dist_train.sh configs/det/retinanet_moganet_l.py 8
"""

_base_ = 'retinanet_moganet_xt.py'

model = dict(
    backbone=dict(arch='large', drop_path_rate=0.3, init_cfg=dict(checkpoint='moganet://large_1k')),
    neck=dict(in_channels=[64, 160, 320, 640]),
)
