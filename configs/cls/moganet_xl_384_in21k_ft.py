"""MogaNet-XL on ImageNet-1K at 384x384, from your own run of moganet_xl_in21k.py. Expected: 87.8 top-1 (paper).

tools/dist_train.sh configs/cls/moganet_xl_384_in21k_ft.py 8
"""

_base_ = 'moganet_s_384_in21k_ft.py'

model = dict(
    backbone=dict(
        arch='xlarge', drop_path_rate=0.8, init_cfg=dict(checkpoint='work_dirs/moganet_xl_in21k/epoch_90.pth')
    ),
    head=dict(in_channels=960, loss=dict(label_smooth_val=0.2)),
)
