"""MogaNet-T on ImageNet-1K with RSB-A3. Expected: 75.4 top-1, 92.6 top-5 (OpenMixup; paper Table A15).

tools/dist_train.sh configs/cls/moganet_t_rsb_a3.py 8
"""

_base_ = 'moganet_xt_rsb_a3.py'

model = dict(backbone=dict(arch='tiny', drop_path_rate=0.1), head=dict(in_channels=256))
