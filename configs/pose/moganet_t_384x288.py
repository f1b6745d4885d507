"""Top-down 2D pose with MogaNet-T, persons of 384x288. Expected: 75.7 AP (released README; paper Table A13).

tools/dist_train.sh configs/pose/moganet_t_384x288.py 8
"""

_base_ = 'moganet_xt_384x288.py'

model = dict(
    backbone=dict(arch='tiny', drop_path_rate=0.15, init_cfg=dict(checkpoint='moganet://tiny_1k')),
    head=dict(in_channels=256),
)
