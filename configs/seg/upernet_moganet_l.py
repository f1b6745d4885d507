"""UperNet with MogaNet-L. Expected: 50.9 mIoU, 63.5 mAcc (released README; paper Table A11).

tools/dist_train.sh configs/seg/upernet_moganet_l.py 8
"""

_base_ = 'upernet_moganet_xt.py'

model = dict(
    backbone=dict(arch='large', drop_path_rate=0.3, init_cfg=dict(checkpoint='moganet://large_1k')),
    decode_head=dict(in_channels=[64, 160, 320, 640]),
    auxiliary_head=dict(in_channels=320),
)
