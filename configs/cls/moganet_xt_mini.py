"""MogaNet-XT on the mini data: 1,437 real scans of handwritten digits, from scratch, in minutes on two cores.

    python tools/train.py configs/cls/moganet_xt_mini.py

The recipe of moganet_xt.py with another pipeline and schedule: 64x64 pixels, 8 epochs in one cycle. Mixup and
RandAugment are left out, as they do not help with so few images and epochs. Expected: at least 98 % top-1 on the 360
validation scans.
"""

_base_ = 'moganet_xt.py'

model = dict(head=dict(num_classes=10), train_cfg=None)
mini_pipeline = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64), backend='pillow', interpolation='bicubic'),
    dict(type='PackInputs', algorithm_keys=['num_classes']),
]
train_dataloader = dict(
    batch_size=64,
    num_workers=1,
    persistent_workers=True,
    collate_fn=dict(type='packed_collate'),
    dataset=dict(data_root='data/mini/cls', pipeline=mini_pipeline),
)
val_dataloader = dict(
    batch_size=64,
    num_workers=0,
    persistent_workers=False,
    dataset=dict(data_root='data/mini/cls', pipeline=mini_pipeline),
)
test_dataloader = val_dataloader

optim_wrapper = dict(type='OptimWrapper', optimizer=dict(lr=2e-3))
param_scheduler = [dict(type='OneCycleLR', eta_max=2e-3, total_steps=8, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=8)
default_hooks = dict(checkpoint=dict(max_keep_ckpts=1))
