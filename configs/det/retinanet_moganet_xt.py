"""RetinaNet with MogaNet-XT on COCO: 12 epochs (1x). Parent of the sizes xt to l.

    tools/dist_train.sh configs/det/retinanet_moganet_xt.py 8

Paper: 8 GPUs (A100) x 2 images, float32. Expected: 39.7 box AP (released README; paper Table A8).

Norms, frozen stages and weight decay are as in mask_rcnn_moganet_xt.py. The rate is 1e-4 for all sizes.
"""

_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mogadet'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type='MogaNet',
        arch='xtiny',
        drop_path_rate=0.05,
        out_indices=(0, 1, 2, 3),
        init_cfg=dict(type='Pretrained', checkpoint='moganet://xtiny_1k'),
    ),
    neck=dict(in_channels=[32, 64, 96, 192]),
)

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys=dict(layer_scale=dict(decay_mult=0.0), scale=dict(decay_mult=0.0), norm=dict(decay_mult=0.0))
    ),
)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3, save_best='auto'))
custom_hooks = [dict(type='ShareFirstNorms')]
randomness = dict(seed=0)
