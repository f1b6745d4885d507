"""MogaNet in mmseg's own configs, as ``moganet swap`` writes them: built, one training step, one prediction."""

import pytest
import torch

from helpers import swapping
from moganet.swap import probe
from moganet.swap.command import load_base

ALL, LAST_THREE = (0, 1, 2, 3), (1, 2, 3)
MAPS = [8, 16, 24, 32]
# Config of mmseg, the stages that replace its backbone's maps, the keys of its channels, and their new values.
QUICK = [
    (
        'pspnet/pspnet_r50-d8_4xb4-160k_ade20k-512x512',
        ALL,
        {'decode_head.in_channels': 32, 'auxiliary_head.in_channels': 24},
    ),
    (
        'ocrnet/ocrnet_hr18_4xb4-160k_ade20k-512x512',
        ALL,
        {'decode_head.0.in_channels': MAPS, 'decode_head.1.in_channels': MAPS},
    ),
    (
        'fastfcn/fastfcn_r50-d32_jpu_psp_4xb4-160k_ade20k-512x512',
        LAST_THREE,
        {'neck.in_channels': (16, 24, 32), 'decode_head.in_channels': 2048, 'auxiliary_head.in_channels': 24},
    ),
    ('segnext/segnext_mscan-t_1xb16-adamw-160k_ade20k-512x512', ALL, {'decode_head.in_channels': [16, 24, 32]}),
]
SLOW = [
    (
        'deeplabv3plus/deeplabv3plus_r50-d8_4xb4-160k_ade20k-512x512',
        ALL,
        {'decode_head.in_channels': 32, 'decode_head.c1_in_channels': 8, 'auxiliary_head.in_channels': 24},
    ),
    ('segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512', ALL, {'decode_head.in_channels': MAPS}),
    ('mask2former/mask2former_r50_8xb2-160k_ade20k-512x512', ALL, {'decode_head.in_channels': MAPS}),
    ('maskformer/maskformer_r50-d32_8xb2-160k_ade20k-512x512', ALL, {'decode_head.in_channels': MAPS}),
    (
        'upernet/upernet_r50_4xb4-160k_ade20k-512x512',
        ALL,
        {'decode_head.in_channels': MAPS, 'auxiliary_head.in_channels': 24},
    ),
    ('sem_fpn/fpn_r50_4xb4-160k_ade20k-512x512', ALL, {'neck.in_channels': MAPS}),
    (
        'knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512',
        ALL,
        {'decode_head.kernel_generate_head.in_channels': 32, 'auxiliary_head.in_channels': 24},
    ),
    ('point_rend/pointrend_r50_4xb4-160k_ade20k-512x512', ALL, {'neck.in_channels': MAPS}),
    ('hrnet/fcn_hr18_4xb4-160k_ade20k-512x512', ALL, {'decode_head.in_channels': MAPS}),
    ('bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024', LAST_THREE, {}),
    ('encnet/encnet_r50-d8_4xb4-160k_ade20k-512x512', ALL, {'decode_head.in_channels': [16, 24, 32]}),
    (
        'swin/swin-tiny-patch4-window7-in1k-pre_upernet_8xb2-160k_ade20k-512x512',
        ALL,
        {'decode_head.in_channels': MAPS, 'auxiliary_head.in_channels': 24},
    ),
    (
        'vit/vit_deit-s16_mln_upernet_8xb2-160k_ade20k-512x512',
        ALL,
        {'neck': None, 'decode_head.in_channels': MAPS, 'auxiliary_head.in_channels': 32},
    ),
]
SIDE = 128


def batch(num_classes: int) -> dict:
    """Return two images of noise with a label in every pixel, a ninth of them ignored."""
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    samples = []
    for _ in range(2):
        labels = (
            torch.randint(0, num_classes, (1, SIDE // 8, SIDE // 8)).repeat_interleave(8, 1).repeat_interleave(8, 2)
        )
        labels[:, : SIDE // 3, : SIDE // 3] = 255
        sample = SegDataSample(gt_sem_seg=PixelData(data=labels))
        sample.set_metainfo(dict(img_shape=(SIDE, SIDE), ori_shape=(SIDE, SIDE), pad_shape=(SIDE, SIDE)))
        samples.append(sample)
    images = [torch.randint(0, 256, (3, SIDE, SIDE), dtype=torch.uint8) for _ in samples]
    return dict(inputs=images, data_samples=samples)


@pytest.mark.parametrize(
    ('name', 'stages', 'channels'),
    [*QUICK, *(pytest.param(*row, marks=pytest.mark.slow) for row in SLOW)],
    ids=[row[0].partition('/')[0] for row in QUICK + SLOW],
)
def test_swapped_segmentor_trains_and_predicts(name, stages, channels, tmp_path):
    base = f'mmseg::{name}.py'
    with probe.scope_of(load_base(base)):
        cfg = swapping.swapped(base, tmp_path)
        assert cfg.model.backbone.out_indices == stages
        assert {place: swapping.look_up(cfg.model, place) for place in channels} == channels
        cfg.model.data_preprocessor.size = (SIDE, SIDE)
        model = swapping.build(cfg.model)
        head = model.decode_head[-1] if isinstance(model.decode_head, torch.nn.ModuleList) else model.decode_head
        data = batch(head.num_classes)
        swapping.check_training_step(model, data)

        model.eval()
        with torch.no_grad():
            predictions = model.test_step(data)
        assert len(predictions) == 2
        for sample in predictions:
            assert sample.seg_logits.data.shape == (head.num_classes, SIDE, SIDE)
            assert torch.isfinite(sample.seg_logits.data).all()
            assert sample.pred_sem_seg.data.shape == (1, SIDE, SIDE)
            assert torch.equal(sample.pred_sem_seg.data[0], sample.seg_logits.data.argmax(0))
