"""MogaNet-T on ImageNet-1K with the refined recipe, 256x256. Expected: 80.0 top-1, 95.0 top-5 (paper Table A7).

tools/dist_train.sh configs/cls/moganet_t_256_refined.py 8
"""

_base_ = 'moganet_xt_256_refined.py'

model = dict(backbone=dict(arch='tiny', drop_path_rate=0.1), head=dict(in_channels=256))
optim_wrapper = dict(optimizer=dict(weight_decay=0.04))
