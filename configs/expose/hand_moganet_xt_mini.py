"""ExPose's hand network with MogaNet-XT from scratch on the mini data, rendered hands, in minutes on two cores.

    python tools/train.py configs/expose/hand_moganet_xt_mini.py

The recipe of hand_moganet_t.py with crops of 64x64, no dropout, and another schedule. Key points and joints have other
loss weights: all key points share the camera, whose gradient would dominate that of the fingers. Betas have a loss of
their own, since their truth is known.

There is no weight decay. Layer scales start at 1e-5, so that blocks that train from scratch first have tiny gradients.
Adam scales its L2 decay up like any gradient, and the decay would shrink these blocks before they learn.

Expected: a PA-MPJPE of 4.6 mm in 12 minutes, on the 200 hands of the validation set. That is 63 % below the 12.3 mm of
MANO's mean pose, and 59 % below the 11.2 mm of a baseline that predicts the mean of the training labels.
"""

_base_ = 'hand_moganet_t.py'

model = dict(
    backbone=dict(arch='xtiny', init_cfg=None),
    head=dict(in_channels=192, regressor_cfg=dict(dropout=0.0, init='xavier'), camera_cfg=dict(mean_scale=9.0)),
    body_model=dict(path='data/mini/expose/body_models/mano/MANO_RIGHT.npz'),
    loss_keypoints2d=dict(loss_weight=0.05),
    loss_smplx_global_orient=dict(loss_weight=3),
    loss_smplx_hand_pose=dict(loss_weight=20),
    loss_smplx_betas=dict(type='MSELoss', loss_weight=0.3),
)
train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='GetRandomScaleRotation', rot_factor=0, scale_factor=0.05),
    dict(type='MeshAffine', img_res=64),
    dict(type='RandomChannelNoise', noise_factor=0.2),
    dict(type='PackExPoseInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MeshAffine', img_res=64),
    dict(type='PackExPoseInputs'),
]
# Loading takes a twentieth of the training time on images this small. One worker loads ahead and sends whole batches.
train_dataloader = dict(
    batch_size=32,
    num_workers=1,
    persistent_workers=True,
    collate_fn=dict(type='packed_collate'),
    dataset=dict(
        data_root='data/mini/expose', ann_file='hand_train.npz', data_prefix=dict(img=''), pipeline=train_pipeline
    ),
)
val_dataloader = dict(
    num_workers=0,
    persistent_workers=False,
    dataset=dict(
        data_root='data/mini/expose', ann_file='hand_val.npz', data_prefix=dict(img=''), pipeline=test_pipeline
    ),
)
test_dataloader = val_dataloader

optim_wrapper = dict(
    optimizer=dict(lr=2e-3, weight_decay=0, fused=True),
    clip_grad=dict(max_norm=10),
    paramwise_cfg=dict(custom_keys=dict(head=dict(lr_mult=0.25))),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=0.01, end=1, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', T_max=18, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=18, val_interval=2)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
