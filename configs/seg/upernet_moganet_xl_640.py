"""UperNet with MogaNet-XL at 640 pixels. Expected: 54.0 mIoU (paper Table A11).

    tools/dist_train.sh configs/seg/upernet_moganet_xl_640.py 8

The paper starts from ImageNet-21K, crops 640 pixels and counts FLOPs at 640x2560. Neither these weights nor such a
config were released; one for 512 pixels from ImageNet-1K was, without a result. So ``init_cfg`` names the last
checkpoint of your own run of configs/cls/moganet_xl_in21k.py. Test images have 640 pixels on the short edge and at most
2560 on the long edge. All other values are those of the other sizes.
"""

_base_ = 'upernet_moganet_xt.py'

model = dict(
    data_preprocessor=dict(size=(640, 640)),
    backbone=dict(
        arch='xlarge', drop_path_rate=0.4, init_cfg=dict(checkpoint='work_dirs/moganet_xl_in21k/epoch_90.pth')
    ),
    decode_head=dict(in_channels=[96, 192, 480, 960]),
    auxiliary_head=dict(in_channels=480),
)
train_pipeline = _base_.train_pipeline
train_pipeline[2]['scale'] = (2560, 640)  # RandomResize
train_pipeline[3]['crop_size'] = (640, 640)  # RandomCrop
test_pipeline = _base_.test_pipeline
test_pipeline[1]['scale'] = (2560, 640)  # Resize
train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
