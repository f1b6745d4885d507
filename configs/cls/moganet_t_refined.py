"""MogaNet-T on ImageNet-1K with the refined recipe, 224x224. Expected: 79.4 top-1 (paper Table A7).

tools/dist_train.sh configs/cls/moganet_t_refined.py 8
"""

_base_ = 'moganet_xt_refined.py'

model = dict(backbone=dict(arch='tiny', drop_path_rate=0.1), head=dict(in_channels=256))
optim_wrapper = dict(optimizer=dict(weight_decay=0.04))
