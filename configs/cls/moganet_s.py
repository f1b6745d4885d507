"""MogaNet-S on ImageNet-1K: 300 epochs, 224x224, EMA. Parent of the sizes s to xl.

    tools/dist_train.sh configs/cls/moganet_s.py 8

Paper: 8 GPUs (A100) x 128 images, float32. Expected: 83.4 top-1, 96.9 top-5 of the averaged weights (released README).
Paper Table A6 gives 83.3 for batch norm with EMA and reaches 83.4 with precise BN on top.

Differences to moganet_xt.py beside the size: RandAugment 9, Mixup 0.8, weight decay 0.05, a floor of 1e-5, float32
and EMA. As in the released code, EMA has a constant decay of 0.9999 and averages norm statistics too. Here these are
the statistics of the first GPU, in the released code those of all GPUs. Paper C.4 raises the decay from 0.9 to 0.9999
instead; ``ema_type='WarmupEMA'`` does that.
"""

_base_ = 'moganet_xt.py'

model = dict(
    backbone=dict(arch='small', drop_path_rate=0.1),
    head=dict(in_channels=512),
    train_cfg=dict(augments=[dict(type='Mixup', alpha=0.8), dict(type='CutMix', alpha=1.0)]),
)
train_pipeline = _base_.train_pipeline
train_pipeline[3]['magnitude_level'] = 9  # RandAugment
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(weight_decay=0.05))
param_scheduler = _base_.param_scheduler
param_scheduler[1]['eta_min'] = 1e-5  # CosineAnnealingLR
# MMEngine's momentum is 1 - decay.
custom_hooks = [
    dict(type='SyncBuffersHook'),
    dict(type='EMAHook', momentum=1e-4, update_buffers=True),
]
