"""SimVP with UniFormer on Moving MNIST, 200 epochs. Expected: an MSE of 30.38 (released README; paper Table A14).

python tools/train.py configs/video/simvp_uniformer_mmnist.py
"""

_base_ = 'simvp_moganet_mmnist.py'

model = dict(translator='uniformer')
param_scheduler = _base_.param_scheduler
param_scheduler[0]['eta_max'] = 5e-4  # OneCycleLR
