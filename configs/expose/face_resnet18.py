"""ExPose's face network with ResNet-18, the baseline. Expected: a 3DRMSE of 2.40 mm (paper Table A12 and MMHuman3D).

tools/dist_train.sh configs/expose/face_resnet18.py 4

The backbone's norms keep their ImageNet statistics during training, as in MMHuman3D.
"""

_base_ = 'face_moganet_t.py'

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
