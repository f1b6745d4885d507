"""ExPose's hand network with MogaNet-T on FreiHAND, crops of 224x224, 100 epochs. Parent of the other hand recipes.

    tools/dist_train.sh configs/expose/hand_moganet_t.py 4

Paper: 4 GPUs (A100) x 64 crops. Expected: a PA-MPJPE of 6.82 mm (paper Table A12). README.md explains why it cannot be
compared with other papers. The paper released no code, config or weights for it. Settings that the paper does not give
follow the recipe for ResNet-18 of MMHuman3D, the code base that the paper names.

* The learning rate is 1e-4, that of MMHuman3D. The paper names 2e-4 and 1e-4, but not the networks that used each.
* The second step of the learning rate, at epoch 100, has no effect, since training ends there. Both sources have it.
* Weight decay is Adam's own (L2), on every parameter.
* The head's last layer has PyTorch's initialisation, as in MMHuman3D, which ignores the gain of 0.01 in its config.
  ``model.head.regressor_cfg.init=xavier`` is the intended initialisation.
* MogaNet's norms are trained, and there is no stochastic depth: neither source mentions them.
* Betas have no loss of their own; key points and a prior constrain them. There is no loss of 3D key points.
* Validation uses poses that are not in the training set. In MMHuman3D's split every validation pose is in training.
"""

default_scope = 'mogapose'
custom_imports = dict(imports=['mogapose.expose'], allow_failed_imports=False)

model = dict(
    type='SMPLXImageBodyModelEstimator',
    data_preprocessor=dict(
        type='ImgDataPreprocessor', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], bgr_to_rgb=True
    ),
    backbone=dict(
        type='MogaNet',
        arch='tiny',
        out_indices=(3,),
        init_cfg=dict(type='Pretrained', checkpoint='moganet://tiny_1k'),
    ),
    head=dict(
        type='ExPoseHandHead',
        in_channels=256,
        regressor_cfg=dict(layers=(1024, 1024), activ_type='ReLU', dropout=0.5, init='default'),
        camera_cfg=dict(pos_func='softplus', mean_scale=0.9),
    ),
    body_model=dict(type='MANO', path='data/body_models/mano/MANO_RIGHT.pkl'),
    loss_keypoints2d=dict(type='L1Loss', loss_weight=1),
    loss_smplx_global_orient=dict(type='RotationDistance', loss_weight=1),
    loss_smplx_hand_pose=dict(type='RotationDistance', loss_weight=1),
    loss_smplx_betas_prior=dict(type='ShapeThresholdPriorLoss', margin=3.0, norm='l2', loss_weight=1),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='BBoxCenterJitter', factor=0.2),
    dict(type='GetRandomScaleRotation', rot_factor=30, scale_factor=0.2, rot_prob=0.6),
    dict(type='MeshAffine', img_res=224),
    dict(type='RandomChannelNoise', noise_factor=0.4),
    dict(type='SimulateLowRes', cat_factors=(1.0, 1.2, 1.5, 2.0, 3.0, 4.0)),
    dict(type='PackExPoseInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MeshAffine', img_res=224),
    dict(type='PackExPoseInputs'),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=True),
    dataset=dict(
        type='HumanDataDataset',
        data_root='data',
        ann_file='preprocessed_datasets/freihand_train.npz',
        data_prefix=dict(img='datasets/FreiHand'),
        convention='mano',
        pipeline=train_pipeline,
    ),
)
val_dataloader = dict(
    train_dataloader,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        train_dataloader['dataset'],
        ann_file='preprocessed_datasets/freihand_val.npz',
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(
    val_dataloader, dataset=dict(val_dataloader['dataset'], ann_file='preprocessed_datasets/freihand_test.npz')
)
val_evaluator = dict(type='HandMeshMetric')
test_evaluator = val_evaluator

optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-4, weight_decay=1e-4))
param_scheduler = dict(type='MultiStepLR', milestones=[60, 100], gamma=0.1, by_epoch=True)
auto_scale_lr = dict(base_batch_size=256)
train_cfg = dict(by_epoch=True, max_epochs=100, val_interval=10)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=10, max_keep_ckpts=3, save_best='hand/PA-MPJPE', rule='less')
)
randomness = dict(seed=0)
