"""MogaNet-S on ImageNet-1K at 384x384, 30 epochs from ImageNet-21K weights. Parent of the sizes s to xl.

    tools/dist_train.sh configs/cls/moganet_s_384_in21k_ft.py 8

Paper Table A3: a batch of 512 on 8 GPUs (A100); a number is published for XL only. ImageNet-21K weights are not
published. So ``init_cfg`` names the last checkpoint of your own run of moganet_s_in21k.py, without its head.

The values are the paper's, on top of moganet_s.py: no warm-up, no Mixup, no CutMix, no ColorJitter (see there), a crop
ratio of 1.0. The paper gives no floor of the learning rate; 1e-6 is the default of the released code.
"""

_base_ = 'moganet_s.py'

model = dict(
    backbone=dict(
        drop_path_rate=0.4,
        init_cfg=dict(type='Pretrained', checkpoint='work_dirs/moganet_s_in21k/epoch_90.pth', prefix='backbone.'),
    ),
    train_cfg=None,
)
train_pipeline = _base_.train_pipeline
train_pipeline[1]['transforms'][0][0]['scale'] = 384  # RandomResizedCrop
train_pipeline[1]['transforms'][1][0]['scale'] = 384  # RandomResizedCrop
test_pipeline = _base_.test_pipeline
test_pipeline[1]['scale'] = 384  # ResizeEdge
test_pipeline[2]['crop_size'] = 384  # CenterCrop
train_dataloader = dict(batch_size=64, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=5e-5))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True)]
train_cfg = dict(max_epochs=30)
auto_scale_lr = dict(base_batch_size=512)
