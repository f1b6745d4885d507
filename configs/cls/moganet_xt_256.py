"""MogaNet-XT on ImageNet-1K: 300 epochs, 256x256. Parent of the sizes xt and t.

    tools/dist_train.sh configs/cls/moganet_xt_256.py 8

Paper: 8 GPUs (A100) x 128 images. Expected: 77.2 top-1, 93.8 top-5 (released README; paper Table A7).
Everything but the resolution is as in moganet_xt.py. Crop ratio 0.90: the short edge becomes floor(256 / 0.9).
"""

_base_ = 'moganet_xt.py'

train_pipeline = _base_.train_pipeline
train_pipeline[1]['transforms'][0][0]['scale'] = 256  # RandomResizedCrop
train_pipeline[1]['transforms'][1][0]['scale'] = 256  # RandomResizedCrop
test_pipeline = _base_.test_pipeline
test_pipeline[1]['scale'] = 284  # ResizeEdge
test_pipeline[2]['crop_size'] = 256  # CenterCrop
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
