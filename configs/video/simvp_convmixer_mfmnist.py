"""SimVP with ConvMixer on Moving FMNIST, 200 epochs. Expected: an MSE of 31.21 (released README).

python tools/train.py configs/video/simvp_convmixer_mfmnist.py
"""

_base_ = 'simvp_moganet_mfmnist.py'

model = dict(translator='convmixer')
param_scheduler = _base_.param_scheduler
param_scheduler[0]['eta_max'] = 1e-2  # OneCycleLR
