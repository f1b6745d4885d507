"""Top-down 2D pose with MogaNet-B, persons of 384x288. Expected: 77.3 AP (released README; paper Table A13).

tools/dist_train.sh configs/pose/moganet_b_384x288.py 8
"""

_base_ = 'moganet_xt_384x288.py'

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.4, init_cfg=dict(checkpoint='moganet://base_1k')),
    head=dict(in_channels=512),
)
