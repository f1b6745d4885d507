"""SimVP with HorNet on Moving MNIST, 200 epochs. Expected: an MSE of 29.64 (released README; paper Table A14).

python tools/train.py configs/video/simvp_hornet_mmnist.py
"""

_base_ = 'simvp_moganet_mmnist.py'

model = dict(translator='hornet')
