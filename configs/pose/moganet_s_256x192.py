"""Top-down 2D pose with MogaNet-S, persons of 256x192. Expected: 74.9 AP (released README; paper Table A13).

tools/dist_train.sh configs/pose/moganet_s_256x192.py 8
"""

_base_ = 'moganet_xt_256x192.py'

model = dict(
    backbone=dict(arch='small', drop_path_rate=0.2, init_cfg=dict(checkpoint='moganet://small_1k')),
    head=dict(in_channels=512),
)
