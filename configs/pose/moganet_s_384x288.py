"""Top-down 2D pose with MogaNet-S, persons of 384x288. Expected: 76.4 AP (released README; paper Table A13).

tools/dist_train.sh configs/pose/moganet_s_384x288.py 8

The only released pose config in mixed precision: float16 with dynamic loss scaling.
"""

_base_ = 'moganet_xt_384x288.py'

model = dict(
    backbone=dict(arch='small', drop_path_rate=0.2, init_cfg=dict(checkpoint='moganet://small_1k')),
    head=dict(in_channels=512),
)
optim_wrapper = dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic')
