"""Mask R-CNN with MogaNet-XT on COCO: 12 epochs (1x). Parent of the sizes xt to l.

    tools/dist_train.sh configs/det/mask_rcnn_moganet_xt.py 8

Paper: 8 GPUs (A100) x 2 images, float32. Expected: 40.7 box AP, 37.6 mask AP (released README; paper Table A9).

Where the released code and the paper differ, the values are those of the released code: the rate is 2e-4 for xt, t and
s, 1e-4 for all sizes in the paper. The released configs ran as follows:

* The configs set a norm for the backbone, but the backbone ignores that option. So its batch norm is plain and trained,
  with the statistics of each GPU's own two images. No stage is frozen, despite the notes on training.
* No weight decay on names with ``layer_scale``, ``scale`` or ``norm``. The stem's norms have the names
  ``patch_embed1.projection.1`` and ``.4``, so they are decayed, as are all biases but those of the other norms.
* ``broadcast_buffers`` is off, MMEngine's default: a checkpoint has the norm statistics of the first GPU. Like mmdet 2,
  ``ShareFirstNorms`` copies them to all GPUs before each evaluation.
* Training is in float32, without gradient clipping. The released notes name Apex, the configs do not use it.
"""

_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
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

# The base sets warm-up (500 iterations from 0.001 of the rate) and steps (epochs 8 and 11).
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys=dict(layer_scale=dict(decay_mult=0.0), scale=dict(decay_mult=0.0), norm=dict(decay_mult=0.0))
    ),
)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3, save_best='auto'))
custom_hooks = [dict(type='ShareFirstNorms')]
randomness = dict(seed=0)
