"""SimVP with VAN on Moving FMNIST, 200 epochs. Expected: an MSE of 31.39 (released README).

python tools/train.py configs/video/simvp_van_mfmnist.py
"""

_base_ = 'simvp_moganet_mfmnist.py'

model = dict(translator='van')
param_scheduler = _base_.param_scheduler
param_scheduler[0]['eta_max'] = 5e-3  # OneCycleLR
