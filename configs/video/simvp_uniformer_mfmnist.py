"""SimVP with UniFormer on Moving FMNIST, 200 epochs. Expected: an MSE of 29.56 (released README).

python tools/train.py configs/video/simvp_uniformer_mfmnist.py
"""

_base_ = 'simvp_moganet_mfmnist.py'

model = dict(translator='uniformer')
param_scheduler = _base_.param_scheduler
param_scheduler[0]['eta_max'] = 5e-4  # OneCycleLR
