"""SimVP with IncepU (v1) on Moving MNIST, 200 epochs. Expected: an MSE of 32.15 (released README; paper Table A14).

python tools/train.py configs/video/simvp_incepu_mmnist.py
"""

_base_ = 'simvp_moganet_mmnist.py'

model = dict(translator='incepu')
