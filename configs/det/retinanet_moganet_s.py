"""RetinaNet with MogaNet-S, 1x. Expected: 45.8 box AP (released README; paper Table A8).

tools/dist_train.sh configs/det/retinanet_moganet_s.py 8
"""

_base_ = 'retinanet_moganet_xt.py'

model = dict(
    backbone=dict(arch='small', drop_path_rate=0.1, init_cfg=dict(checkpoint='moganet://small_1k')),
    neck=dict(in_channels=[64, 128, 320, 512]),
)
