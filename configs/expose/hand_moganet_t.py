"""ExPose's hand network with MogaNet-T on FreiHAND, crops of 224x224, 100 epochs. Parent of the other hand recipes.

    tools/dist_train.sh configs/expose/hand_moganet_t.py 4

Paper: 4 GPUs (A100) x 64 crops. Expected: a PA-MPJPE of 6.82 mm (paper Table A12), of which README.md says why it
cannot be compared with that of other papers. No code, config or weights of it were released: what the paper leaves open
follows MMHuman3D's recipe for ResNet-18, the code base that it names.

* Rate: 1e-4, MMHuman3D's. The paper names 2e-4 and 1e-4 and not which of them each network had.
* The second step of the rate, at epoch 100, comes after the last one: both sources have it.
* Weight decay is Adam's own (L2), of every parameter.
* The head's last layer starts as PyTorch makes it, as it did in MMHuman3D, whose config asks for a gain of 0.01 in
  vain; ``model.head.regressor_cfg.init=xavier`` is what was meant.
* MogaNet's norms train, and no path is dropped: neither source speaks of it.
* Betas have no loss of their own: the key points and a prior hold them. Key points have none in 3D.
* Epochs are validated on poses that are not trained on. MMHuman3D's split has every pose of its validation in training.
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
    batch_size=64,
    num_workers=8,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    dataset=dict(
        type='HumanDataDataset',
        data_root='data',
        ann_file='preprocessed_datasets/freihand_val.npz',
        data_prefix=dict(img='datasets/FreiHand'),
        convention='mano',
        pipeline=test_pipeline,
        test_mode=True,
    ),
)
test_dataloader = dict(**val_dataloader)
test_dataloader['dataset'] = dict(val_dataloader['dataset'], ann_file='preprocessed_datasets/freihand_test.npz')
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
