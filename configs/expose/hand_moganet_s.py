"""ExPose's hand network with MogaNet-S on FreiHAND. Expected: a PA-MPJPE of 6.08 mm (paper Table A12).

tools/dist_train.sh configs/expose/hand_moganet_s.py 4
"""

_base_ = 'hand_moganet_t.py'

model = dict(
    backbone=dict(arch='small', init_cfg=dict(checkpoint='moganet://small_1k')),
    head=dict(in_channels=512),
)
