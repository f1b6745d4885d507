"""SimVP with MLP-Mixer on Moving MNIST, 2,000 epochs. Expected: an MSE of 18.85 (released README; paper Table A14).

python tools/train.py configs/video/simvp_mlpmixer_mmnist_2000e.py
"""

_base_ = 'simvp_moganet_mmnist_2000e.py'

model = dict(translator='mlpmixer')
