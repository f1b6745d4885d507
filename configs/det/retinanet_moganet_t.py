"""RetinaNet with MogaNet-T, 1x. Expected: 41.4 box AP (released README; paper Table A8).

tools/dist_train.sh configs/det/retinanet_moganet_t.py 8
"""

_base_ = 'retinanet_moganet_xt.py'

model = dict(
    backbone=dict(arch='tiny', drop_path_rate=0.1, init_cfg=dict(checkpoint='moganet://tiny_1k')),
    neck=dict(in_channels=[32, 64, 128, 256]),
)
