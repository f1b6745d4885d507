"""Test-time augmentation: six scales of the test size, each rounded to 32, and their mirror images."""

import json
import pickle

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS, MODELS
from PIL import Image
from torch.nn import functional

from helpers.tool_runs import ROOT, call
from moganet.run import evaluate
from moganet.run.config import load_config
from mogaseg import tta

CONFIG = ROOT / 'configs/seg/fpn_moganet_xt.py'
TINY = """
_base_ = '{root}/configs/seg/fpn_moganet_xt.py'
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2)),
                  init_cfg=None),
    neck=dict(in_channels=[8, 16, 24, 32]),
    decode_head=dict(channels=16))
test_pipeline = _base_.test_pipeline
test_pipeline[1]['scale'] = (512, 128)
test_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    data_root='{data}', pipeline=test_pipeline))
"""
SIZE = (75, 101)
# Short edges of 64, 96, ... 224 pixels; long edges 101 / 75 times as long; both up to multiples of 32.
SIZES = [(64, 96), (96, 160), (128, 192), (160, 224), (192, 288), (224, 320)]
# Sizes before they are rounded: 64 / 75 x 101 = 86.2, 129.3, 172.4, 215.5, 258.6, 301.7.
RESIZED = [(64, 86), (96, 129), (128, 172), (160, 215), (192, 259), (224, 302)]
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


@pytest.fixture
def tiny(tmp_path):
    """Return the path of the config of a narrow network that reads two photographs."""
    rng = np.random.default_rng(0)
    for kind in ('images', 'annotations'):
        (tmp_path / 'ade' / kind / 'validation').mkdir(parents=True)
    for name in 'ab':
        small = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
        small.resize(SIZE[::-1]).save(tmp_path / f'ade/images/validation/{name}.jpg', quality=95)
        labels = Image.fromarray(rng.integers(0, 151, SIZE, np.uint8))
        labels.save(tmp_path / f'ade/annotations/validation/{name}.png')
    path = tmp_path / 'tiny.py'
    path.write_text(TINY.format(root=ROOT, data=tmp_path / 'ade'))
    return path


def build(path):
    """Return a model with random norm statistics and weights, so that scores depend on the position."""
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(load_config(path).model).eval()
    for key, value in model.state_dict().items():
        if key.endswith('running_var'):
            value.uniform_(0.5, 2)
        elif key.endswith(('running_mean', 'layer_scale_1', 'layer_scale_2')):
            value.normal_()
        elif key == 'decode_head.conv_seg.weight':
            value.mul_(100)
    return model


@torch.no_grad()
def mean_probability(model, path):
    """Compute the mean over sizes and mirror images of the softmax of the scores at the photograph's size."""
    image = cv2.imread(str(path))
    total = 0
    for (height, width), (rows, columns) in zip(RESIZED, SIZES, strict=True):
        pixels = cv2.resize(cv2.resize(image, (width, height)), (columns, rows))
        for mirrored in (False, True):
            turned = (pixels[:, ::-1] if mirrored else pixels)[..., ::-1]
            inputs = torch.from_numpy(((turned - MEAN) / STD).astype(np.float32).transpose(2, 0, 1))[None]
            scores = model(inputs)
            for size in ((rows, columns), SIZE):
                scores = functional.interpolate(scores, size=size, mode='bilinear', align_corners=False)
            total = total + (scores.flip(3) if mirrored else scores).softmax(1)[0] / 12
    return total


def test_tta_predicts_the_class_of_the_highest_mean_probability(tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = build(tiny)
    torch.save(dict(state_dict=model.state_dict()), 'weights.pth')
    call('test', tiny, 'weights.pth', '--tta', '--work-dir', 'run', '--out', 'found.pkl')
    found = pickle.loads((tmp_path / 'found.pkl').read_bytes())  # noqa: S301  written just above
    assert [sample['img_path'][-5:] for sample in found] == ['a.jpg', 'b.jpg']
    classes = set()
    for sample in found:
        probability = mean_probability(model, sample['img_path'])
        own = sample['pred_sem_seg']['data'].reshape(SIZE)
        # A class whose probability equals the highest up to rounding.
        lost = probability.max(0).values - probability.gather(0, own[None])[0]
        assert lost.max() < 1e-4
        assert (own == probability.argmax(0)).float().mean() > 0.999
        classes |= set(own.unique().tolist())
    assert len(classes) > 5
    (metrics,) = (tmp_path / 'run').glob('*/*.json')
    assert {'mIoU', 'mAcc', 'aAcc'} <= set(json.loads(metrics.read_text()))


def test_tta_pipeline_makes_every_size_and_its_mirror_image(tiny):
    cfg = load_config(tiny)
    evaluate.prepare(cfg, tta=True)
    assert cfg.model.type == 'SegTTAModel'
    assert cfg.model.module.type == 'EncoderDecoder'
    with DefaultScope.overwrite_default_scope('mmseg'):
        data = DATASETS.build(cfg.test_dataloader.dataset)[0]
    assert [tuple(image.shape[1:]) for image in data['inputs']] == [size for size in SIZES for _ in range(2)]
    assert [sample.flip for sample in data['data_samples']] == [False, True] * 6
    images, samples = data['inputs'], data['data_samples']
    assert torch.equal(images[1], images[0].flip(2))
    # The labels are those of the file.
    assert all(torch.equal(sample.gt_sem_seg.data, samples[0].gt_sem_seg.data) for sample in samples)
    assert samples[0].gt_sem_seg.shape == SIZE


@pytest.mark.parametrize(
    ('name', 'short'), [('fpn_moganet_b', 512), ('upernet_moganet_s', 512), ('upernet_moganet_xl_640', 640)]
)
def test_tta_scales_are_those_of_the_released_runs(name, short):
    cfg = load_config(ROOT / f'configs/seg/{name}.py')
    tta.set_default(cfg)
    sizes = cfg.tta_pipeline[-1].transforms[0]
    assert [step['scale'] for step in sizes] == [
        (int(4 * short * ratio), int(short * ratio)) for ratio in (0.5, 0.75, 1, 1.25, 1.5, 1.75)
    ]


def test_tta_of_another_config_is_its_own(tmp_path):
    path = tmp_path / 'other.py'
    path.write_text("_base_ = 'mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py'\n")
    cfg = load_config(path)
    evaluate.prepare(cfg, tta=True)
    first = cfg.test_dataloader.dataset.pipeline[1].transforms[0][0]
    assert (first.type, first.scale_factor) == ('Resize', 0.5)


def test_tta_without_a_size_is_refused():
    steps = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    with pytest.raises(ValueError, match='--tta: the test pipeline has no Resize with a scale'):
        tta.set_default(Config(dict(test_dataloader=dict(dataset=dict(pipeline=steps)))))
