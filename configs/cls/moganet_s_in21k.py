"""MogaNet-S on ImageNet-21K: 90 epochs, 224x224. Parent of the sizes s to xl.

    tools/dist_train.sh configs/cls/moganet_s_in21k.py 8

Paper Table A3: a batch of 1024 on 8 GPUs (A100). The paper reports no number for this stage;
moganet_xl_384_in21k_ft.py has the number of the fine-tuned XL. Neither code nor weights were published: the values are
the paper's, on top of moganet_s.py.

The paper leaves some settings open. The choices here:

* 21841 classes: the full Fall 2011 release, a folder per class in data/imagenet21k/train. Other releases have fewer.
  train_dataloader.dataset.ann_file=FILE, with lines of path and label, avoids listing its 14 million files.
* The learning rate ends at 1e-5, and no epochs follow the 90.
* No ColorJitter: the paper lists it, but the released code for ImageNet-1K never applies it.
* No evaluation, since there is no validation split.
"""

_base_ = 'moganet_s.py'

model = dict(
    backbone=dict(drop_path_rate=0.0),
    head=dict(num_classes=21841, loss=dict(label_smooth_val=0.2)),
)
train_dataloader = dict(dataset=dict(data_root='data/imagenet21k'))
val_dataloader = None
val_evaluator = None
val_cfg = None
test_dataloader = None
test_evaluator = None
test_cfg = None

param_scheduler = _base_.param_scheduler
param_scheduler[1]['T_max'] = 90  # CosineAnnealingLR
param_scheduler[1]['end'] = 90  # CosineAnnealingLR
train_cfg = dict(max_epochs=90)
custom_hooks = [dict(type='SyncBuffersHook')]
default_hooks = dict(checkpoint=dict(save_best=None))
