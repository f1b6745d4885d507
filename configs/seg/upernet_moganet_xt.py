"""UperNet with MogaNet-XT on ADE20K: 160,000 iterations. Parent of the sizes xt to xl.

    tools/dist_train.sh configs/seg/upernet_moganet_xt.py 8

Paper: 8 GPUs (A100) x 2 images, float32. Expected: 42.2 mIoU, 55.1 mAcc (released README; paper Table A11).

Where the released code and the paper differ, the values are those of the released code: the rate is 1e-4 (paper: 6e-5).
Norms, frozen stages, test sizes and ``--tta`` are as in fpn_moganet_xt.py. Two points differ:

* No weight decay on names with ``layer_scale``, ``scale`` or ``norm``. The stem's norms have the names
  ``patch_embed1.projection.1`` and ``.4``, the norms of the heads ``bn``. So these norms are decayed, as are all biases
  but those of the other norms.
* The rate falls linearly to 0 from the first iteration on, also during the warm-up. In mmseg's recipes, it falls after
  the warm-up only and is 1 % higher.
"""

_base_ = 'mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py'
custom_imports = dict(imports=['mogaseg'], allow_failed_imports=False)

model = dict(
    pretrained=None,
    backbone=dict(
        _delete_=True,
        type='MogaNet',
        arch='xtiny',
        drop_path_rate=0.05,
        out_indices=(0, 1, 2, 3),
        init_cfg=dict(type='Pretrained', checkpoint='moganet://xtiny_1k'),
    ),
    decode_head=dict(in_channels=[32, 64, 96, 192]),
    auxiliary_head=dict(in_channels=96),
)

train_pipeline = _base_.train_pipeline
train_pipeline[1] = dict(type='LoadAnnotations')  # without reduce_zero_label, which the data set sets
test_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(2048, 512), keep_ratio=True),
    dict(type='ResizeToMultiple', size_divisor=32),
    # After the resizes: predictions are compared with the labels at the size of the photograph.
    dict(type='LoadAnnotations'),
    dict(type='PackSegInputs'),
]
tta_pipeline = None  # mogaseg/tta.py derives it from the test pipeline
train_dataloader = dict(batch_size=2, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(
    optimizer=dict(_delete_=True, type='AdamW', lr=1e-4, betas=(0.9, 0.999), weight_decay=0.01),
    paramwise_cfg=dict(
        custom_keys=dict(layer_scale=dict(decay_mult=0.0), scale=dict(decay_mult=0.0), norm=dict(decay_mult=0.0))
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, begin=0, end=1500, by_epoch=False),
    dict(type='PolyLR', eta_min=0.0, power=1.0, begin=0, end=160000, by_epoch=False),
]
auto_scale_lr = dict(enable=False, base_batch_size=16)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=3, save_best='mIoU'))
custom_hooks = [dict(type='ShareFirstNorms')]
