"""SimVP with HorNet on Moving FMNIST, 200 epochs. Expected: an MSE of 29.19 (released README).

python tools/train.py configs/video/simvp_hornet_mfmnist.py
"""

_base_ = 'simvp_moganet_mfmnist.py'

model = dict(translator='hornet')
