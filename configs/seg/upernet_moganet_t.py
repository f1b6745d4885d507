"""UperNet with MogaNet-T. Expected: 43.7 mIoU, 57.1 mAcc (released README; paper Table A11).

tools/dist_train.sh configs/seg/upernet_moganet_t.py 8
"""

_base_ = 'upernet_moganet_xt.py'

model = dict(
    backbone=dict(arch='tiny', drop_path_rate=0.1, init_cfg=dict(checkpoint='moganet://tiny_1k')),
    decode_head=dict(in_channels=[32, 64, 128, 256]),
    auxiliary_head=dict(in_channels=128),
)
