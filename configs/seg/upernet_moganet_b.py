"""UperNet with MogaNet-B. Expected: 50.1 mIoU, 63.4 mAcc (released README; paper Table A11).

tools/dist_train.sh configs/seg/upernet_moganet_b.py 8
"""

_base_ = 'upernet_moganet_xt.py'

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.2, init_cfg=dict(checkpoint='moganet://base_1k')),
    decode_head=dict(in_channels=[64, 160, 320, 512]),
    auxiliary_head=dict(in_channels=320),
)
