"""Top-down 2D pose with MogaNet-T, persons of 256x192. Expected: 73.2 AP (released README; paper Table A13).

tools/dist_train.sh configs/pose/moganet_t_256x192.py 8
"""

_base_ = 'moganet_xt_256x192.py'

model = dict(
    backbone=dict(arch='tiny', drop_path_rate=0.15, init_cfg=dict(checkpoint='moganet://tiny_1k')),
    head=dict(in_channels=256),
)
