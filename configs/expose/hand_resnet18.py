"""ExPose's hand network with ResNet-18, the baseline. Expected: a PA-MPJPE of 7.51 mm (paper Table A12).

tools/dist_train.sh configs/expose/hand_resnet18.py 4

MMHuman3D's own run of this recipe reports 10.03 mm. The backbone's norms keep their ImageNet statistics in training.
"""

_base_ = 'hand_moganet_t.py'

model = dict(
    backbone=dict(
        _delete_=True,
        type='mmpose.ResNet',
        depth=18,
        norm_eval=True,
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet18'),
    ),
    head=dict(in_channels=512),
)
