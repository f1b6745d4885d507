"""SimVP with IncepU (SimVP v1) on Moving FMNIST, 200 epochs. Expected: an MSE of 30.77 (released README).

python tools/train.py configs/video/simvp_incepu_mfmnist.py
"""

_base_ = 'simvp_moganet_mfmnist.py'

model = dict(translator='incepu')
