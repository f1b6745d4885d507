"""MogaNet-T on ImageNet-1K: 300 epochs, 256x256. Expected: 79.6 top-1, 94.9 top-5 (released README).

tools/dist_train.sh configs/cls/moganet_t_256.py 8
"""

_base_ = 'moganet_xt_256.py'

model = dict(backbone=dict(arch='tiny', drop_path_rate=0.1), head=dict(in_channels=256))
optim_wrapper = dict(optimizer=dict(weight_decay=0.04))
