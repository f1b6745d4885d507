"""Cascade Mask R-CNN with MogaNet-B and GIoU heads on COCO, multi-scale, 36 epochs (3x). Parent of the sizes b to xl.

    tools/dist_train.sh configs/det/cascade_mask_rcnn_moganet_b_giou_ms3x.py 8

Paper: 8 GPUs (A100) x 2 images, float32. Expected: 52.6 box AP, 46.0 mask AP (released README; paper Table A10).

Differences to size s: a rate of 1e-4 that falls by 0.8 per layer towards the image, with its own rule of weight decay.
Biases are not decayed, nor are tensors that are vectors without their sides of length 1. The norms after the stages
have the full rate.
"""

_base_ = 'cascade_mask_rcnn_moganet_s_giou_ms3x.py'

model = dict(
    backbone=dict(arch='base', drop_path_rate=0.2, init_cfg=dict(checkpoint='moganet://base_1k')),
    neck=dict(in_channels=[64, 160, 320, 512]),
)
optim_wrapper = dict(
    constructor='LayerDepthOptimWrapperConstructor',
    optimizer=dict(lr=1e-4),
    paramwise_cfg=dict(_delete_=True, layer_decay_rate=0.8),
)
