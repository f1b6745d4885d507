"""SimVP with MogaNet on the mini data, from scratch: two scanned digits that move, in minutes on two cores.

    python tools/train.py configs/video/simvp_moganet_mini.py

The recipe of simvp_moganet_mmnist.py with a narrower model, 4 blocks in place of 8, and batch 8. Training takes 3 short
epochs in one cycle of the rate, at a constant momentum. Expected on 100 clips of other digits: less than half the MSE
of repeating the last frame.
"""

_base_ = 'simvp_moganet_mmnist.py'

model = dict(hid_S=16, hid_T=64, N_T=4)
train_dataloader = dict(
    batch_size=8, num_workers=0, persistent_workers=False, dataset=dict(data_root='data/mini/video', length=1600)
)
val_dataloader = dict(batch_size=10, num_workers=0, persistent_workers=False, dataset=dict(data_root='data/mini/video'))
test_dataloader = val_dataloader

optim_wrapper = dict(optimizer=dict(lr=2e-3, betas=(0.9, 0.999)))
param_scheduler = [dict(type='OneCycleLR', eta_max=2e-3, total_steps=3, by_epoch=True, convert_to_iter_based=True)]
train_cfg = dict(max_epochs=3)
default_hooks = dict(visualization=dict(interval=10))
