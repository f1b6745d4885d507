"""MogaNet-T fine-tuned on class folders of your own: copy this file, or set its values on the command line.

    python tools/train.py configs/cls/moganet_t_own_data.py --cfg-options data_root=DIR model.head.num_classes=17

Expected in DIR: train/<class>/*.jpg and val/<class>/*.jpg. The names of the folders are the names of the classes.
The paper has no such recipe: 30 epochs from the published ImageNet-1K weights, one GPU, a rate for a batch of 64.
"""

_base_ = 'moganet_t.py'

model = dict(
    backbone=dict(init_cfg=dict(type='Pretrained', checkpoint='moganet://tiny_1k')),
    head=dict(num_classes=10),
)
train_dataloader = dict(batch_size=64, drop_last=False, dataset=dict(data_root='data/own'))
val_dataloader = dict(dataset=dict(data_root='data/own'))
test_dataloader = val_dataloader
optim_wrapper = dict(optimizer=dict(lr=1e-4))
param_scheduler = [dict(type='CosineAnnealingLR', eta_min=1e-6, by_epoch=True)]
train_cfg = dict(max_epochs=30)
auto_scale_lr = dict(base_batch_size=64)
