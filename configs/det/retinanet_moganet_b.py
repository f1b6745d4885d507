"""RetinaNet with MogaNet-B, 1x. Expected: 47.7 box AP (released README; paper Table A8).

tools/dist_train.sh configs/det/retinanet_moganet_b.py 8
"""

_base_ = 'retinanet_moganet_xt.py'

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.2, init_cfg=dict(checkpoint='moganet://base_1k')),
    neck=dict(in_channels=[64, 160, 320, 512]),
)
