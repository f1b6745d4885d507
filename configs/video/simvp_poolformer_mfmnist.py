"""SimVP with PoolFormer on Moving FMNIST, 200 epochs. Expected: an MSE of 30.02 (released README).

python tools/train.py configs/video/simvp_poolformer_mfmnist.py
"""

_base_ = 'simvp_moganet_mfmnist.py'

model = dict(translator='poolformer')
