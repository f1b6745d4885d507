"""SimVP with Swin on Moving FMNIST, 200 epochs. Expected: an MSE of 28.66 (released README).

python tools/train.py configs/video/simvp_swin_mfmnist.py
"""

_base_ = 'simvp_moganet_mfmnist.py'

model = dict(translator='swin')
