"""SimVP with ConvMixer on Moving MNIST, 200 epochs. Expected: an MSE of 32.09 (released README; paper Table A14).

python tools/train.py configs/video/simvp_convmixer_mmnist.py
"""

_base_ = 'simvp_moganet_mmnist.py'

model = dict(translator='convmixer')
param_scheduler = _base_.param_scheduler
param_scheduler[0]['eta_max'] = 1e-2  # OneCycleLR
