"""ExPose's face network with MogaNet-S. Expected: a 3DRMSE of 2.24 mm (paper Table A12).

tools/dist_train.sh configs/expose/face_moganet_s.py 4
"""

_base_ = 'face_moganet_t.py'

model = dict(
    backbone=dict(arch='small', init_cfg=dict(checkpoint='moganet://small_1k')),
    head=dict(in_channels=512),
)
