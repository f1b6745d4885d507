"""MogaNet-L on ImageNet-1K: 300 epochs, 224x224, EMA. Expected: 84.7 top-1, 97.1 top-5 (released README).

    tools/dist_train.sh configs/cls/moganet_l.py 8

8 x 64 images as in the name of the released weights; the paper and the released command say 1024 in all.
"""

_base_ = 'moganet_s.py'

model = dict(backbone=dict(arch='large', drop_path_rate=0.3), head=dict(in_channels=640))
train_dataloader = dict(batch_size=64)
auto_scale_lr = dict(base_batch_size=512)
