"""SimVP with ConvNeXt on Moving MNIST, 2,000 epochs. Expected: an MSE of 17.58 (released README; paper Table A14).

python tools/train.py configs/video/simvp_convnext_mmnist_2000e.py
"""

_base_ = 'simvp_moganet_mmnist_2000e.py'

model = dict(translator='convnext')
param_scheduler = _base_.param_scheduler
param_scheduler[0]['eta_max'] = 1e-2  # OneCycleLR
