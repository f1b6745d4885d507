"""MogaNet-T on ImageNet-1K: 300 epochs, 224x224. Expected: 79.0 top-1, 94.6 top-5 (released README).

tools/dist_train.sh configs/cls/moganet_t.py 8
"""

_base_ = 'moganet_xt.py'

model = dict(backbone=dict(arch='tiny', drop_path_rate=0.1), head=dict(in_channels=256))
optim_wrapper = dict(optimizer=dict(weight_decay=0.04))
