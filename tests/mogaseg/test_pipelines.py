"""Pipelines of images and label maps in training and in tests: sizes, crops, padding, labels."""

import copy

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmseg.datasets.transforms import PackSegInputs
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from PIL import Image
from torch.nn import functional

from helpers.cases import for_each
from helpers.tool_runs import ROOT
from moganet.run.config import load_config

CONFIG = ROOT / 'configs/seg/fpn_moganet_xt.py'
MEAN, STD = np.array([123.675, 116.28, 103.53]), np.array([58.395, 57.12, 57.375])


@pytest.fixture(autouse=True)
def mmseg_scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


def build_steps(kind, name='fpn_moganet_xt'):
    """Return the transforms of a pipeline between loading and packing."""
    steps = load_config(ROOT / f'configs/seg/{name}.py')[f'{kind}_dataloader'].dataset.pipeline
    return [TRANSFORMS.build(step) for step in steps if not step['type'].startswith(('Load', 'Pack'))]


def scene(height, width):
    """Return an image with one label on its left and another on its right."""
    labels = np.zeros((height, width), np.uint8)
    labels[:, width // 2 :] = 7
    image = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    return dict(
        img=image, img_shape=(height, width), ori_shape=(height, width), gt_seg_map=labels, seg_fields=['gt_seg_map']
    )


# Height and width of a photograph and of the test image: the short edge to 512 unless the long edge exceeds 2048, sides
# to the nearest pixel, then each up to the next multiple of 32.
SIZES = [
    ((512, 683), (512, 704)),  # 683 -> 22 x 32
    ((333, 500), (512, 800)),  # 512 / 333 x 500 = 768.8 -> 769
    ((600, 400), (768, 512)),  # multiples already
    ((301, 1999), (320, 2048)),  # 2048 / 1999 x 301 = 308.4 -> 308
    ((97, 61), (832, 512)),  # 512 / 61 x 97 = 814.2 -> 814
]


@for_each(SIZES)
def test_test_size_is_rounded_up_to_a_multiple_of_32(size, tested):
    results = scene(*size)
    for step in build_steps('test'):
        results = step(results)
    assert results['img'].shape == (*tested, 3)
    assert results['img_shape'] == results['pad_shape'] == tested
    assert results['ori_shape'] == size


@pytest.mark.parametrize(('name', 'sides'), [('upernet_moganet_s', (512, 800)), ('upernet_moganet_xl_640', (640, 992))])
def test_every_recipe_rounds_its_test_size(name, sides):
    results = scene(333, 500)  # 640 / 333 x 500 = 961
    for step in build_steps('test', name):
        results = step(results)
    assert results['img'].shape[:2] == sides


def tiny_config(root):
    """Return Semantic FPN with a narrow network, on the photographs below ``root``."""
    cfg = load_config(CONFIG, dict(data_root=str(root)))
    cfg.model.backbone.update(
        arch=dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2)), init_cfg=None
    )
    cfg.model.neck.in_channels = [8, 16, 24, 32]
    cfg.model.decode_head.channels = 16
    return cfg


@pytest.fixture
def photograph(tmp_path):
    """Return a folder in the layout of ADE20K with a photograph of 75x101 pixels and its label map."""
    for kind in ('images', 'annotations'):
        (tmp_path / kind / 'validation').mkdir(parents=True)
    rng = np.random.default_rng(1)
    small = Image.fromarray(rng.integers(0, 256, (5, 7, 3), np.uint8))
    small.resize((101, 75)).save(tmp_path / 'images/validation/a.jpg')
    labels = rng.integers(0, 151, (75, 101), np.uint8)
    Image.fromarray(labels).save(tmp_path / 'annotations/validation/a.png')
    return tmp_path, labels


def test_predictions_come_back_at_the_size_of_the_photograph(photograph):
    root, labels = photograph
    cfg = tiny_config(root)
    cfg.test_dataloader.dataset.pipeline[1].scale = (256, 64)
    model = MODELS.build(copy.deepcopy(cfg.model)).eval()
    data = DATASETS.build(cfg.test_dataloader.dataset)[0]
    assert data['inputs'].shape == (3, 64, 96)  # 64 / 75 x 101 = 86.2
    with torch.no_grad():
        (found,) = model.test_step(pseudo_collate([data]))
        pixels = data['inputs'].float().numpy()[::-1].transpose(1, 2, 0)
        image = torch.from_numpy(((pixels - MEAN) / STD).astype(np.float32).transpose(2, 0, 1))[None]
        scores = model.decode_head(model.neck(model.backbone(image)))
    assert scores.shape == (1, 150, 16, 24)
    for size in ((64, 96), (75, 101)):
        scores = functional.interpolate(scores, size=size, mode='bilinear', align_corners=False)
    assert torch.allclose(found.seg_logits.data, scores[0], atol=1e-5)
    assert torch.equal(found.pred_sem_seg.data, found.seg_logits.data.argmax(0, keepdim=True))
    # ADE20K's label 0 is unlabelled; classes count from 1.
    expected = np.where(labels == 0, 255, labels.astype(int) - 1)
    assert np.array_equal(found.gt_sem_seg.data.numpy()[0], expected)


def test_random_sizes_are_a_half_to_twice_the_test_size():
    resize = build_steps('train')[0]
    found = []
    for seed in range(200):
        np.random.seed(seed)
        ratio = 0.5 + 1.5 * np.random.random_sample()
        np.random.seed(seed)
        height, width = resize(scene(100, 150))['img_shape']
        short = int(512 * ratio)
        assert (height, width) == (short, int(short / 100 * 150 + 0.5))
        found.append(height)
    assert min(found) < 300
    assert max(found) > 950


def test_crop_avoids_one_label_on_more_than_three_quarters():
    crop = build_steps('train')[1]
    shares = []
    for seed in range(40):
        np.random.seed(seed)
        results = crop(scene(512, 1600))
        assert results['img'].shape == (512, 512, 3)
        assert results['gt_seg_map'].shape == (512, 512)
        shares.append(max(np.mean(results['gt_seg_map'] == label) for label in (0, 7)))
    # Of all positions, 23 % have at most 0.75 of one label; ten tries find none in 0.77^10 = 7 % of the cases.
    assert 30 <= sum(share < 0.75 for share in shares) <= 40


def test_crop_takes_what_there_is_where_all_has_one_label():
    results = scene(600, 600)
    results['gt_seg_map'][:] = 3
    assert build_steps('train')[1](results)['img'].shape == (512, 512, 3)


def test_images_smaller_than_the_crop_are_padded_after_they_are_normalised():
    results = scene(300, 400)
    data = PackSegInputs()(copy.deepcopy(results))
    preprocessor = MODELS.build(load_config(CONFIG).model.data_preprocessor)
    batch = preprocessor(pseudo_collate([data]), training=True)
    image, labels = batch['inputs'][0].numpy(), batch['data_samples'][0].gt_sem_seg.data[0].numpy()
    assert image.shape == (3, 512, 512)
    assert labels.shape == (512, 512)
    expected = (results['img'][..., ::-1] - MEAN) / STD
    assert image[:, :300, :400].transpose(1, 2, 0) == pytest.approx(expected, abs=1e-5)
    assert np.array_equal(labels[:300, :400], results['gt_seg_map'])
    assert not image[:, 300:].any()
    assert not image[:, :, 400:].any()
    assert (labels[300:] == 255).all()
    assert (labels[:, 400:] == 255).all()


def test_colours_change_and_labels_do_not():
    flip, distort = build_steps('train')[2:]
    changes, flips = 0, 0
    for seed in range(40):
        np.random.seed(seed)
        before = scene(32, 48)
        after = distort(flip(copy.deepcopy(before)))
        flips += after['flip']
        image, labels = before['img'], before['gt_seg_map']
        if after['flip']:
            image, labels = image[:, ::-1], labels[:, ::-1]
        assert np.array_equal(after['gt_seg_map'], labels)
        changes += not np.array_equal(after['img'], image)
    # Brightness, contrast, saturation and hue each change half of the images.
    assert changes > 30
    assert 10 < flips < 30
