"""SimVP with MLP-Mixer on Moving FMNIST, 200 epochs. Expected: an MSE of 28.83 (released README).

python tools/train.py configs/video/simvp_mlpmixer_mfmnist.py
"""

_base_ = 'simvp_moganet_mfmnist.py'

model = dict(translator='mlpmixer')
