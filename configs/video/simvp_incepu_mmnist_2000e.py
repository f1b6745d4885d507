"""SimVP with IncepU (v1) on Moving MNIST, 2,000 epochs. Expected: an MSE of 21.15 (released README; paper Table A14).

python tools/train.py configs/video/simvp_incepu_mmnist_2000e.py
"""

_base_ = 'simvp_moganet_mmnist_2000e.py'

model = dict(translator='incepu')
