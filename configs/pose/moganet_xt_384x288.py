"""Top-down 2D pose with MogaNet-XT on COCO, persons of 384x288. Parent of the sizes xt to b at this resolution.

    tools/dist_train.sh configs/pose/moganet_xt_384x288.py 8

Paper: 8 GPUs (A100) x 32 persons, float32 except S. Expected: 74.7 AP (released README; paper Table A13).

The recipe is that of moganet_xt_256x192.py with another input size. Heatmaps grow with the input, but their Gaussians
do not: the released configs keep a deviation of 2 cells, while mmpose's own configs of this size have 3.
"""

_base_ = 'moganet_xt_256x192.py'

codec = dict(type='MSRAHeatmap', input_size=(288, 384), heatmap_size=(72, 96), sigma=2)
model = dict(head=dict(decoder=codec))
train_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='ShiftBBox', input_size=(288, 384)),
    dict(type='RandomFlip', direction='horizontal'),
    dict(type='RandomHalfBody', min_upper_keypoints=3, upper_prioritized_prob=0.6915),
    dict(type='ScaleRotateBBox'),
    dict(type='TopdownAffine', input_size=(288, 384)),
    dict(type='GenerateTarget', encoder=codec),
    dict(type='PackPoseInputs'),
]
val_pipeline = [
    dict(type='LoadImage'),
    dict(type='GetBBoxCenterScale'),
    dict(type='TopdownAffine', input_size=(288, 384)),
    dict(type='PackPoseInputs'),
]
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline))
test_dataloader = val_dataloader
