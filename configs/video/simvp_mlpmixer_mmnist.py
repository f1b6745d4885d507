"""SimVP with MLP-Mixer on Moving MNIST, 200 epochs. Expected: an MSE of 29.52 (released README; paper Table A14).

python tools/train.py configs/video/simvp_mlpmixer_mmnist.py
"""

_base_ = 'simvp_moganet_mmnist.py'

model = dict(translator='mlpmixer')
