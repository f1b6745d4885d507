"""MogaNet-L on ImageNet-21K: 90 epochs, 224x224.

tools/dist_train.sh configs/cls/moganet_l_in21k.py 8
"""

_base_ = 'moganet_s_in21k.py'

model = dict(backbone=dict(arch='large', drop_path_rate=0.1), head=dict(in_channels=640))
