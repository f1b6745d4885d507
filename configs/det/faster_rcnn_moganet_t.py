"""Faster R-CNN with MogaNet-T on COCO, 12 epochs (1x): boxes without masks. For data of your own.

    tools/dist_train.sh configs/det/faster_rcnn_moganet_t.py 8

Meant for 8 GPUs x 2 images. The paper reports no number for this detector. Rate, weight decay, norms and schedule are
those of mask_rcnn_moganet_t.py.
"""

_base_ = 'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py'
custom_imports = dict(imports=['mogadet'], allow_failed_imports=False)

model = dict(
    backbone=dict(
        _delete_=True,
        type='MogaNet',
        arch='tiny',
        drop_path_rate=0.1,
        out_indices=(0, 1, 2, 3),
        init_cfg=dict(type='Pretrained', checkpoint='moganet://tiny_1k'),
    ),
    neck=dict(in_channels=[32, 64, 128, 256]),
)

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys=dict(layer_scale=dict(decay_mult=0.0), scale=dict(decay_mult=0.0), norm=dict(decay_mult=0.0))
    ),
)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3, save_best='auto'))
custom_hooks = [dict(type='ShareFirstNorms')]
randomness = dict(seed=0)
