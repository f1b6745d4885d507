"""UperNet with MogaNet-S. Expected: 49.2 mIoU, 61.6 mAcc (released README; paper Table A11).

tools/dist_train.sh configs/seg/upernet_moganet_s.py 8
"""

_base_ = 'upernet_moganet_xt.py'

model = dict(
    backbone=dict(arch='small', drop_path_rate=0.1, init_cfg=dict(checkpoint='moganet://small_1k')),
    decode_head=dict(in_channels=[64, 128, 320, 512]),
    auxiliary_head=dict(in_channels=320),
)
