"""MogaNet-L on ImageNet-1K at 384x384, from your own run of moganet_l_in21k.py.

tools/dist_train.sh configs/cls/moganet_l_384_in21k_ft.py 8
"""

_base_ = 'moganet_s_384_in21k_ft.py'

model = dict(
    backbone=dict(arch='large', drop_path_rate=0.7, init_cfg=dict(checkpoint='work_dirs/moganet_l_in21k/epoch_90.pth')),
    head=dict(in_channels=640, loss=dict(label_smooth_val=0.2)),
)
