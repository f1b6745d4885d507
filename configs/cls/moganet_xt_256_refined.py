"""MogaNet-XT on ImageNet-1K with the refined recipe: 3-Augment, 300 epochs, 256x256. Parent of the sizes xt and t.

    tools/dist_train.sh configs/cls/moganet_xt_256_refined.py 8

Paper: 8 GPUs (A100) x 128 images. Expected: 77.6 top-1 (paper Table A7).
Everything but the resolution is as in moganet_xt_refined.py. OpenMixup's published config tests the central 224 pixels
of the 284 although it trains at 256; this one tests at 256, as the paper and OpenMixup's table say.
"""

_base_ = 'moganet_xt_refined.py'

train_pipeline = _base_.train_pipeline
train_pipeline[1]['scale'] = 256  # RandomResizedCrop
test_pipeline = _base_.test_pipeline
test_pipeline[1]['scale'] = 284  # ResizeEdge
test_pipeline[2]['crop_size'] = 256  # CenterCrop
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
