"""SimVP with PoolFormer on Moving MNIST, 200 epochs. Expected: an MSE of 31.79 (released README; paper Table A14).

python tools/train.py configs/video/simvp_poolformer_mmnist.py
"""

_base_ = 'simvp_moganet_mmnist.py'

model = dict(translator='poolformer')
