"""MogaNet-B on ImageNet-1K with RSB-A3: 100 epochs, trained at 160x160, tested at 224x224. Parent of b and l.

    tools/dist_train.sh configs/cls/moganet_b_rsb_a3.py 8

OpenMixup: 8 GPUs (A100) x 128 images, twice per step. Expected: 82.2 top-1, 95.9 top-5 (OpenMixup; paper Table A15).
"""

_base_ = 'moganet_xt_rsb_a3.py'

model = dict(backbone=dict(arch='base', drop_path_rate=0.2), head=dict(in_channels=512))
# 2048 images a step; MMEngine's automatic scaling of the rate does not see the accumulation.
train_dataloader = dict(batch_size=128)
optim_wrapper = dict(accumulative_counts=2)
auto_scale_lr = dict(base_batch_size=1024)
