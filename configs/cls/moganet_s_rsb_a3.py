"""MogaNet-S on ImageNet-1K with RSB-A3. Expected: 81.1 top-1, 95.5 top-5 (OpenMixup; paper Table A15).

tools/dist_train.sh configs/cls/moganet_s_rsb_a3.py 8
"""

_base_ = 'moganet_xt_rsb_a3.py'

model = dict(backbone=dict(arch='small', drop_path_rate=0.1), head=dict(in_channels=512))
