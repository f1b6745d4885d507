"""Mask R-CNN with MogaNet-XT on COCO: 12 epochs (1x). Parent of the sizes xt to l.

    tools/dist_train.sh configs/det/mask_rcnn_moganet_xt.py 8

Paper: 8 GPUs (A100) x 2 images, float32. Expected: 40.7 box AP, 37.6 mask AP (released README; paper Table A9).

Values are those of the released code where it and the paper differ: the rate is 2e-4 for xt, t and s, where the paper
says 1e-4 for all sizes. What the released configs set and what then ran:

* They name norms for the backbone, which does not read that option: it has plain batch norm, trained, with the
  statistics of each GPU's own two images. No stage is frozen either, whatever the notes on training say.
* No weight decay where a name has ``layer_scale``, ``scale`` or ``norm`` in it. The stem's norms are called
  ``patch_embed1.projection.1`` and ``.4``: they are decayed, and so are all biases but those of the other norms.
* ``broadcast_buffers`` is off, as it is by MMEngine's default: a checkpoint has the norm statistics of the first GPU.
  mmdet 2 copied these to all GPUs before each evaluation, and so does ``ShareFirstNorms``.
* Training is float32 and gradients are not clipped; Apex is named in the released notes but not in the configs.
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

# Warm-up (500 iterations from 0.001 of the rate) and steps (epochs 8 and 11) are those of the base.
optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=2e-4, betas=(0.9, 0.999), weight_decay=0.05),
    paramwise_cfg=dict(
        custom_keys=dict(layer_scale=dict(decay_mult=0.0), scale=dict(decay_mult=0.0), norm=dict(decay_mult=0.0))
    ),
)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3, save_best='auto'))
custom_hooks = [dict(type='ShareFirstNorms')]
randomness = dict(seed=0)
