"""SimVP with UniFormer on Moving MNIST, 2,000 epochs. Expected: an MSE of 18.01 (released README; paper Table A14).

python tools/train.py configs/video/simvp_uniformer_mmnist_2000e.py
"""

_base_ = 'simvp_moganet_mmnist_2000e.py'

model = dict(translator='uniformer')
param_scheduler = _base_.param_scheduler
param_scheduler[0]['eta_max'] = 5e-4  # OneCycleLR
