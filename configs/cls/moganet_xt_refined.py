"""MogaNet-XT on ImageNet-1K with the refined recipe: 3-Augment, 300 epochs, 224x224. Parent of the sizes xt and t.

    tools/dist_train.sh configs/cls/moganet_xt_refined.py 8

Paper: 8 GPUs (A100) x 128 images. Expected: 77.1 top-1 (paper Table A7).

OpenMixup trained this recipe and published it for 256x256 only; here it is at 224. Differences to moganet_xt.py:

* learning rate 2e-3 with 20 epochs of warm-up, rate set at each iteration, 300 epochs in all;
* 3-Augment in place of RandAugment, ColorJitter 0.3, no erasing;
* precise BN after each epoch, and the double gate of OpenMixup's weights;
* no decay on LayerScale, ``sigma.scale``, biases and norms. The weights of the stem's two norms are decayed, since
  their names lack 'norm'.
"""

_base_ = 'moganet_xt.py'

model = dict(backbone=dict(gate='double'))

train_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='RandomResizedCrop', scale=224, backend='pillow', interpolation='bicubic'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    # 3-Augment. A magnitude_std of 'inf' draws the radius uniformly.
    dict(
        type='RandomChoice',
        transforms=[
            [dict(type='RandomGrayscale', prob=1.0, keep_channels=True, channel_weights=(0.114, 0.587, 0.299))],
            [dict(type='Solarize', thr=128, prob=1.0)],
            [dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=1.0)],
        ],
    ),
    dict(type='ColorJitter', brightness=0.3, contrast=0.3, saturation=0.3),
    dict(type='PackInputs', algorithm_keys=['num_classes']),
]
train_dataloader = dict(drop_last=False, dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(
    optimizer=dict(lr=2e-3),
    paramwise_cfg=dict(
        _delete_=True,
        custom_keys={'norm': dict(decay_mult=0.0), 'bias': dict(decay_mult=0.0), 'scale': dict(decay_mult=0.0)},
    ),
)
param_scheduler = [
    dict(type='LinearLR', start_factor=1e-6, by_epoch=True, begin=0, end=20, convert_to_iter_based=True),
    dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True, convert_to_iter_based=True),
]
train_cfg = dict(max_epochs=300)
custom_hooks = [dict(type='PreciseBNHook', num_samples=8192, interval=1, priority='ABOVE_NORMAL')]
