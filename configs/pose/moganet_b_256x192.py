"""Top-down 2D pose with MogaNet-B, persons of 256x192. Expected: 75.3 AP (released README; paper Table A13).

tools/dist_train.sh configs/pose/moganet_b_256x192.py 8
"""

_base_ = 'moganet_xt_256x192.py'

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.3, init_cfg=dict(checkpoint='moganet://base_1k')),
    head=dict(in_channels=512),
)
