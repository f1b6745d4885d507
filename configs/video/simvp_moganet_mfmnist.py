"""SimVP with MogaNet on Moving FMNIST, 200 epochs. Parent of the other translators.

python tools/train.py configs/video/simvp_moganet_mfmnist.py

One GPU, batch 16. Expected: an MSE of 25.14 (released README; the paper has no Moving FMNIST). The values are
OpenSTL's, since the paper's code has neither config nor loader for Moving FMNIST.
"""

_base_ = 'simvp_moganet_mmnist.py'

train_dataloader = dict(dataset=dict(data_root='data/moving_fmnist'))
val_dataloader = dict(dataset=dict(data_root='data/moving_fmnist', file='fmnist_test_seq.npy'))
test_dataloader = val_dataloader
