"""SimVP with gSTA (SimVP v2) on Moving MNIST, 2,000 epochs. Expected: an MSE of 15.05 (released README).

python tools/train.py configs/video/simvp_gsta_mmnist_2000e.py
"""

_base_ = 'simvp_moganet_mmnist_2000e.py'

model = dict(translator='gsta')
