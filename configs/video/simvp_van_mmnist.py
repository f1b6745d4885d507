"""SimVP with VAN on Moving MNIST, 200 epochs. Expected: an MSE of 26.10 (released README; paper Table A14).

python tools/train.py configs/video/simvp_van_mmnist.py
"""

_base_ = 'simvp_moganet_mmnist.py'

model = dict(translator='van')
