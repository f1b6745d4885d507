"""The pipelines of the recipes against PIL and torchvision, which the released runs used."""

import functools
from pathlib import Path

import numpy as np
import pytest
import torch
from mmcv.transforms import Compose
from mmengine.config import Config
from mmengine.registry import MODELS, TRANSFORMS, DefaultScope
from PIL import Image, ImageFilter, ImageOps
from torchvision.transforms import CenterCrop, InterpolationMode, Normalize, Resize, ToTensor
from torchvision.transforms import Compose as Reference

from moganet.run.config import load_config

CONFIGS = Path(__file__).parents[2] / 'configs/cls'
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@functools.cache
def recipe(name: str) -> Config:
    """Return the config of a recipe. The tests share it and must not change it."""
    return load_config(CONFIGS / f'moganet_{name}.py')


@pytest.fixture(autouse=True)
def mmpretrain_scope():
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        yield


def photograph(height: int, width: int) -> np.ndarray:
    """Smooth colours with some noise, (H, W, RGB)."""
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 12, 3), dtype=np.uint8))
    smooth = np.array(coarse.resize((width, height), Image.BICUBIC), dtype=np.int16)
    return np.clip(smooth + rng.integers(-12, 13, smooth.shape), 0, 255).astype(np.uint8)


def run_pipeline(steps: list, path: Path) -> dict:
    return Compose([TRANSFORMS.build(step) for step in steps])(dict(img_path=str(path), gt_label=0, num_classes=2))


@pytest.mark.parametrize('suffix', ['png', 'jpg'])
@pytest.mark.parametrize(
    ('name', 'edge', 'crop'),
    [
        ('xt', 248, 224),
        ('t_256', 284, 256),
        ('t_256_refined', 284, 256),
        ('s_rsb_a3', 236, 224),
        ('xl_384_in21k_ft', 384, 384),
    ],
)
@pytest.mark.parametrize('size', [(300, 401), (533, 400), (120, 97)], ids=str)
def test_test_pipeline_is_the_papers_protocol(tmp_path, name, edge, crop, size, suffix):
    path = tmp_path / f'image.{suffix}'
    Image.fromarray(photograph(*size)).save(path, quality=90)
    cfg = recipe(name)
    packed = run_pipeline(cfg.test_dataloader.dataset.pipeline, path)
    preprocess = MODELS.build(dict(cfg.data_preprocessor, type='ClsDataPreprocessor'))
    ours = preprocess(dict(inputs=[packed['inputs']], data_samples=[packed['data_samples']]))['inputs'][0]

    reference = Reference([Resize(edge, InterpolationMode.BICUBIC), CenterCrop(crop), ToTensor(), Normalize(MEAN, STD)])
    theirs = reference(Image.open(path).convert('RGB'))
    assert ours.shape == (3, crop, crop)
    # A level of the 8-bit image is 0.018 here: JPEG decoders may differ by one, PNG ones may not.
    difference = (ours - theirs).abs()
    assert difference.max() < (1e-5 if suffix == 'png' else 0.04)
    assert difference.mean() < (1e-6 if suffix == 'png' else 1e-3)


@pytest.mark.parametrize(
    ('name', 'size'), [('xt', 224), ('s', 224), ('t_256', 256), ('xt_256_refined', 256), ('b_rsb_a3', 160)]
)
def test_train_pipeline_gives_the_recipes_size(tmp_path, name, size):
    Image.fromarray(photograph(200, 260)).save(tmp_path / 'image.png')
    for _ in range(8):
        packed = run_pipeline(recipe(name).train_dataloader.dataset.pipeline, tmp_path / 'image.png')
        assert packed['inputs'].shape == (3, size, size)
        assert packed['inputs'].dtype == torch.uint8
        assert packed['data_samples'].num_classes == 2


def test_official_crop_draws_both_interpolations():
    choice = TRANSFORMS.build(recipe('s').train_dataloader.dataset.pipeline[1])
    assert [branch.transforms[0].interpolation for branch in choice.transforms] == ['bilinear', 'bicubic']
    assert all(branch.transforms[0].backend == 'pillow' for branch in choice.transforms)
    assert all(branch.transforms[0].crop_ratio_range == (0.08, 1.0) for branch in choice.transforms)
    drawn = [choice.random_pipeline_index() for _ in range(2000)]
    assert np.mean(drawn) == pytest.approx(0.5, abs=0.05)


@pytest.fixture
def three_augment():
    (step,) = [s for s in recipe('xt_refined').train_dataloader.dataset.pipeline if s['type'] == 'RandomChoice']
    return TRANSFORMS.build(step)


def augmented(three_augment, branch: int, image: np.ndarray) -> np.ndarray:
    """Apply one branch to an image (H, W, RGB); the pipelines work on BGR."""
    return three_augment.transforms[branch](dict(img=image[..., ::-1].copy()))['img'][..., ::-1]


def test_three_augment_draws_its_branches_uniformly(three_augment):
    counts = np.bincount([three_augment.random_pipeline_index() for _ in range(6000)])
    assert counts.tolist() == pytest.approx([2000, 2000, 2000], rel=0.08)


def test_three_augment_greys_as_pil(three_augment):
    image = photograph(40, 50)
    grey = np.array(ImageOps.grayscale(Image.fromarray(image)), dtype=int)
    ours = augmented(three_augment, 0, image).astype(int)
    # PIL rounds, mmcv truncates.
    assert np.abs(ours - grey[..., None]).max() <= 1


def test_three_augment_solarizes_as_pil(three_augment):
    image = photograph(40, 50)
    assert (augmented(three_augment, 1, image) == np.array(ImageOps.solarize(Image.fromarray(image), 128))).all()


def test_three_augment_blurs_as_pil_with_a_uniform_radius(three_augment):
    image = photograph(40, 50)
    blur = three_augment.transforms[2].transforms[0]
    np.random.seed(3)
    ours = augmented(three_augment, 2, image)
    draws = np.random.RandomState(3)
    draws.rand()  # whether to blur at all
    radius = 0.1 + 1.9 * draws.rand()
    theirs = np.array(Image.fromarray(image).filter(ImageFilter.GaussianBlur(radius)))
    assert np.abs(ours.astype(int) - theirs).max() == 0
    radii = [blur.random_magnitude() for _ in range(4000)]
    assert 0.1 <= min(radii) < 0.11
    assert 1.99 < max(radii) <= 2.0
    assert np.mean(radii) == pytest.approx(1.05, abs=0.03)


def test_color_jitter_of_the_refined_recipe_spans_03():
    (step,) = [s for s in recipe('t_refined').train_dataloader.dataset.pipeline if s['type'] == 'ColorJitter']
    jitter = TRANSFORMS.build(step)
    assert (jitter.brightness, jitter.contrast, jitter.saturation) == ((0.7, 1.3),) * 3
    assert jitter.hue is None


def test_erased_pixels_are_standard_normal_after_normalisation():
    (step,) = [s for s in recipe('s').train_dataloader.dataset.pipeline if s['type'] == 'RandomErasing']
    erase = TRANSFORMS.build(dict(step, erase_prob=1.0))
    erased = erase(dict(img=np.zeros((400, 400, 3), dtype=np.uint8)))['img']
    pixels = erased[erased.any(axis=-1)][:, ::-1] / 255
    assert len(pixels) >= 0.019 * 400 * 400
    normalised = (pixels - MEAN) / STD
    # Clipped to [0, 255], which reduces the spread a little.
    assert normalised.mean(axis=0) == pytest.approx([0, 0, 0], abs=0.05)
    assert normalised.std(axis=0) == pytest.approx([1, 1, 1], abs=0.06)
