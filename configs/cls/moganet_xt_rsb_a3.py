"""MogaNet-XT on ImageNet-1K with RSB-A3: 100 epochs, trained at 160x160, tested at 224x224. Parent of xt, t, s, b, l.

    tools/dist_train.sh configs/cls/moganet_xt_rsb_a3.py 8

OpenMixup: 8 GPUs (A100) x 256 images, float32. Expected: 72.8 top-1, 91.3 top-5 (OpenMixup; paper Table A15).

The values are OpenMixup's:

* LAMB at 6e-3 for a batch of 2048, rate set at each iteration; the paper searched the rate in {6e-3, 8e-3};
* binary cross-entropy, RandAugment 6, no erasing;
* precise BN after each epoch, and the double gate of OpenMixup's weights;
* no decay on LayerScale, ``sigma.scale``, biases and norms. The weights of the stem's two norms are decayed, since
  their names lack 'norm'.

Crop ratio 0.95: the short edge is 236, rounded up.
"""

_base_ = 'moganet_xt.py'

model = dict(
    backbone=dict(gate='double'),
    head=dict(loss=dict(_delete_=True, type='CrossEntropyLoss', use_sigmoid=True)),
)

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=160, backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        magnitude_level=6,
        magnitude_std=0.5,
        hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
    ),
    dict(type='PackInputs', algorithm_keys=['num_classes']),
]
test_pipeline = _base_.test_pipeline
test_pipeline[1]['scale'] = 236  # ResizeEdge
train_dataloader = dict(batch_size=256, drop_last=False, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(
    type='OptimWrapper',
    optimizer=dict(_delete_=True, type='Lamb', lr=6e-3, weight_decay=0.02),
    paramwise_cfg=dict(
        _delete_=True,
        custom_keys={'norm': dict(decay_mult=0.0), 'bias': dict(decay_mult=0.0), 'scale': dict(decay_mult=0.0)},
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-5, by_epoch=True, begin=0, end=5, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=100)
auto_scale_lr = dict(base_batch_size=2048)
custom_hooks = [dict(type='PreciseBNHook', num_samples=8192, interval=1, priority='ABOVE_NORMAL')]
