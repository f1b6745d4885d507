"""MogaNet-B on ImageNet-1K at 384x384, from your own run of moganet_b_in21k.py.

tools/dist_train.sh configs/cls/moganet_b_384_in21k_ft.py 8
"""

_base_ = 'moganet_s_384_in21k_ft.py'

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.6, init_cfg=dict(checkpoint='work_dirs/moganet_b_in21k/epoch_90.pth')),
)
