"""SimVP with Swin on Moving MNIST, 200 epochs. Expected: an MSE of 29.70 (released README; paper Table A14).

python tools/train.py configs/video/simvp_swin_mmnist.py
"""

_base_ = 'simvp_moganet_mmnist.py'

model = dict(translator='swin')
