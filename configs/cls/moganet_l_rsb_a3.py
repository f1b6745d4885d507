"""MogaNet-L on ImageNet-1K with RSB-A3. Expected: 83.2 top-1, 96.4 top-5 (OpenMixup; paper Table A15).

    tools/dist_train.sh configs/cls/moganet_l_rsb_a3.py 8

The stochastic depth is 0.4 here, and gradients are clipped for this size alone, as OpenMixup did.
"""

_base_ = 'moganet_b_rsb_a3.py'

model = dict(backbone=dict(arch='large', drop_path_rate=0.4), head=dict(in_channels=640))
optim_wrapper = dict(clip_grad=dict(max_norm=10.0))
