"""SimVP with gSTA (SimVP v2) on Moving FMNIST, 200 epochs. Expected: an MSE of 25.86 (released README).

python tools/train.py configs/video/simvp_gsta_mfmnist.py
"""

_base_ = 'simvp_moganet_mfmnist.py'

model = dict(translator='gsta')
