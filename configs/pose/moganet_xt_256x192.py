"""Top-down 2D pose with MogaNet-XT on COCO, 210 epochs, persons of 256x192. Parent of the sizes xt to b.

    tools/dist_train.sh configs/pose/moganet_xt_256x192.py 8

Paper: 8 GPUs (A100) x 32 persons, float32. Expected: 72.1 AP (released README; paper Table A13), with the boxes of a
detector. If their file is missing, annotated boxes are used, and AP cannot be compared with the table.

Values are those of the released code if it differs from the paper. The learning rate is 1e-3 for all sizes; the paper
names 1e-3 and 5e-4. Some settings of the released configs had no effect or another one:

* They name synchronised norms for the backbone, but the backbone ignores that option. It has plain batch norm, which is
  trained with the statistics of each GPU's own 32 persons. No stage is frozen.
* Checkpoints store the norm statistics of the first GPU, and mmpose 0 evaluated with these on all GPUs.
  ``ShareFirstNorms`` does the same. mmpose 1's own configs average them over the GPUs (``SyncBuffersHook``).
* Boxes are shifted, scaled and rotated as in mmpose 0; ``mogapose/augmentation.py`` compares that with mmpose 1.
  ``RandomHalfBody`` has mmpose 0's settings: a half needs three joints, and the upper half is preferred if a normal
  draw is below 0.5.
* ``modulate_kernel`` of the test has no effect with the default decoding of heatmaps.
"""

_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py'
# mogapose registers the backbone without loading mmpose; mogapose.topdown registers the steps and checks below with it.
custom_imports = dict(imports=['mogapose', 'mogapose.topdown'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type='MogaNet',
        arch='xtiny',
        drop_path_rate=0.1,
        out_indices=(3,),
        init_cfg=dict(type='Pretrained', checkpoint='moganet://xtiny_1k'),
    ),
    head=dict(in_channels=192),
)

codec = dict(type='MSRAHeatmap', input_size=(192, 256), heatmap_size=(48, 64), sigma=2)
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='ShiftBBox', input_size=(192, 256)),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomHalfBody', min_upper_keypoints=3, upper_prioritized_prob=0.6915),
    dict(type='ScaleRotateBBox'),
    dict(type='TopdownAffine', input_size=(192, 256)),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(batch_size=32, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=32)
test_dataloader = val_dataloader

# Warm-up (500 iterations from 0.001 of the rate) and steps (epochs 170 and 200) are those of the base config.
optim_wrapper = dict(optimizer=dict(lr=1e-3))
auto_scale_lr = dict(base_batch_size=256)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3))
custom_hooks = [dict(type='ShareFirstNorms')]
randomness = dict(seed=0)
