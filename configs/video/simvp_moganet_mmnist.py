"""SimVP with MogaNet on Moving MNIST: 10 frames in, 10 frames out, 200 epochs. Parent of the other translators.

    python tools/train.py configs/video/simvp_moganet_mmnist.py

Paper: one GPU (V100), batch 16, float32. Expected: an MSE of 25.57 (released README; paper Table A14).

The published numbers and weights are OpenSTL's, and so are these values. The rate depends on the translator. Drop path
falls from 0.01 in the first block to 0 in the last. The test clips are the validation set, and the best epoch is saved.
The code released with the paper differs in two points, which look like mistakes:

* Defaults of its command line override the config. Without command-line options, the rate is 1e-3 for every translator
  and the last block has a drop path of 0.1.
* Its config of VAN names the translator ConvMixer.

SSIM assumes a data range of 2, scikit-image's default for floats at that time. Today's definition is ``data_range=1``
in the evaluator and gives lower values. The release also fixes cuDNN's algorithms, as the slower
``randomness=dict(deterministic=True)`` does.
"""

default_scope = 'mmengine'
custom_imports = dict(imports=['mogavideo'], allow_failed_imports=False)

model = dict(
    type='SimVP',
    in_shape=(10, 1, 64, 64),
    translator='moganet',
    hid_S=64,
    hid_T=512,
    N_S=4,
    N_T=8,
    data_preprocessor=dict(type='FramePreprocessor'),
)

train_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    drop_last=True,
    sampler=dict(type='FreshClips'),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='MovingImages', data_root='data/moving_mnist', file='train-images-idx3-ubyte.gz', length=10000),
)
val_dataloader = dict(
    batch_size=16,
    num_workers=4,
    persistent_workers=True,
    sampler=dict(type='DefaultSampler', shuffle=False),
    collate_fn=dict(type='default_collate'),
    dataset=dict(type='StoredClips', data_root='data/moving_mnist', file='mnist_test_seq.npy'),
)
test_dataloader = val_dataloader
val_evaluator = dict(type='VideoMetric')
test_evaluator = dict(type='VideoMetric', per_frame=True)

# One cycle of the rate, and an opposite cycle of Adam's first beta: 0.95, 0.85 after 30 % of the epochs, 0.95.
optim_wrapper = dict(optimizer=dict(type='Adam', lr=1e-3, betas=(0.95, 0.999)))
param_scheduler = [
    dict(type='OneCycleLR', eta_max=1e-3, total_steps=200, by_epoch=True, convert_to_iter_based=True),
    dict(type='CosineAnnealingMomentum', eta_min=0.85, T_max=60, end=60, by_epoch=True, convert_to_iter_based=True),
    dict(
        type='CosineAnnealingMomentum',
        eta_min=0.95,
        T_max=140,
        begin=60,
        end=200,
        by_epoch=True,
        convert_to_iter_based=True,
    ),
]
train_cfg = dict(by_epoch=True, max_epochs=200, val_interval=1)
val_cfg = dict()
test_cfg = dict()
default_hooks = dict(
    checkpoint=dict(type='CheckpointHook', interval=1, max_keep_ckpts=1, save_best='video/mse', rule='less'),
    visualization=dict(type='DrawClips', interval=500),
)
env_cfg = dict(cudnn_benchmark=False)
randomness = dict(seed=42)
