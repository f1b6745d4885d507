"""SimVP with Swin on Moving MNIST, 2,000 epochs. Expected: an MSE of 19.11 (released README; paper Table A14).

python tools/train.py configs/video/simvp_swin_mmnist_2000e.py
"""

_base_ = 'simvp_moganet_mmnist_2000e.py'

model = dict(translator='swin')
