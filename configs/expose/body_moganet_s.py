"""ExPose's body network with MogaNet-S: SMPL-X from crops of 256x256, without the attention to hands and face.

    tools/dist_train.sh configs/expose/body_moganet_s.py 4

The paper reports no number for bodies. This is MMHuman3D's recipe with another backbone, on 4 GPUs x 48 crops.
MMHuman3D draws 8 % of its crops from ExPose's curated fits, 12 % from SPIN's fits and 80 % from Human3.6M. Its tools
write files of all three, which this code can read; the recipe uses the curated fits alone. There is no metric for
bodies and no validation during training. ``tools/test.py ... --out bodies.pkl`` writes the predictions for EHF.

With ``model.head.mean_pose_path`` the poses of body and hands start from the means of ``all_means.pkl``. Without it
the hands start from SMPL-X's means.
"""

_base_ = 'hand_moganet_t.py'

model = dict(
    backbone=dict(arch='small', init_cfg=dict(checkpoint='moganet://small_1k')),
    head=dict(
        type='ExPoseBodyHead',
        in_channels=512,
        num_betas=10,
        num_expression_coeffs=10,
        regressor_cfg=dict(activ_type='none'),
    ),
    body_model=dict(type='SMPLX', path='data/body_models/smplx/SMPLX_NEUTRAL.npz', num_betas=10, num_expression=10),
    loss_keypoints3d=dict(type='L1Loss', loss_weight=1),
    loss_smplx_body_pose=dict(type='RotationDistance', loss_weight=1),
    loss_smplx_jaw_pose=dict(type='RotationDistance', loss_weight=1),
    loss_smplx_expression=dict(type='MSELoss', loss_weight=1),
    loss_smplx_betas=dict(type='MSELoss', loss_weight=0.001),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomHorizontalFlip', flip_prob=0.5),
    dict(type='GetRandomScaleRotation', rot_factor=30, scale_factor=0.25, rot_prob=0.6),
    dict(type='MeshAffine', img_res=256),
    dict(type='RandomChannelNoise', noise_factor=0.4),
    dict(type='PackExPoseInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='MeshAffine', img_res=256),
    dict(type='PackExPoseInputs'),
]
train_dataloader = dict(
    batch_size=48,
    dataset=dict(
        ann_file='preprocessed_datasets/curated_fits_train.npz',
        data_prefix=dict(img='datasets'),
        convention='smplx',
        pipeline=train_pipeline,
    ),
)
test_dataloader = dict(
    batch_size=48,
    dataset=dict(
        ann_file='preprocessed_datasets/ehf_val.npz',
        data_prefix=dict(img='datasets/EHF'),
        convention='smplx',
        pipeline=test_pipeline,
    ),
)
test_evaluator = []
val_cfg = val_dataloader = val_evaluator = None

auto_scale_lr = dict(base_batch_size=192)
default_hooks = dict(checkpoint=dict(save_best=None))
