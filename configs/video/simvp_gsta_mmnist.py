"""SimVP with gSTA (SimVP v2) on Moving MNIST, 200 epochs. Expected: an MSE of 26.69 (released README).

python tools/train.py configs/video/simvp_gsta_mmnist.py
"""

_base_ = 'simvp_moganet_mmnist.py'

model = dict(translator='gsta')
