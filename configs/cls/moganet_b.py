"""MogaNet-B on ImageNet-1K: 300 epochs, 224x224, EMA. Expected: 84.3 top-1, 97.0 top-5 (released README).

tools/dist_train.sh configs/cls/moganet_b.py 8
"""

_base_ = 'moganet_s.py'

model = dict(backbone=dict(arch='base', drop_path_rate=0.2))
