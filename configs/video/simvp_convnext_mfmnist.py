"""SimVP with ConvNeXt on Moving FMNIST, 200 epochs. Expected: an MSE of 26.41 (released README).

python tools/train.py configs/video/simvp_convnext_mfmnist.py
"""

_base_ = 'simvp_moganet_mfmnist.py'

model = dict(translator='convnext')
param_scheduler = _base_.param_scheduler
param_scheduler[0]['eta_max'] = 1e-2  # OneCycleLR
