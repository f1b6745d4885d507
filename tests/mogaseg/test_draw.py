"""Figures show their input, and predictions of single images equal those of the data set."""

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmseg.datasets import ADE20KDataset
from PIL import Image

from helpers.tool_runs import ROOT, run_tool
from moganet.io import images
from moganet.run import engine
from moganet.run.config import load_config
from mogaseg import demo, draw, infer, mini

GREY = 100
CONFIG = ROOT / 'configs/seg/fpn_moganet_xt_mini.py'
PALETTE = [[0, 0, 0], [255, 0, 0], [0, 0, 255]]
NAMES = ['ground', 'cat', 'dog']


@pytest.fixture
def image():
    return np.full((40, 60, 3), GREY, np.uint8)


@pytest.fixture
def labels():
    """Return labels: a cat of 600 pixels, a dog of 12, an unlabelled strip of 60."""
    pixels = np.zeros((40, 60), np.int64)
    pixels[10:30, 20:50], pixels[0:3, 0:4], pixels[39] = 1, 2, 255
    return pixels


def test_overlay_mixes_colours_and_leaves_the_unlabelled_as_it_is(image, labels):
    picture = draw.overlay(image, labels, PALETTE)
    rest = (1 - draw.OPACITY) * GREY
    assert picture[20, 30].tolist() == [round(rest + draw.OPACITY * 255), round(rest), round(rest)]
    assert picture[1, 1].tolist() == [round(rest), round(rest), round(rest + draw.OPACITY * 255)]
    assert picture[5, 5].tolist() == [round(rest)] * 3
    assert (picture[39] == GREY).all()
    assert (image == GREY).all()


def test_shares_are_of_all_pixels_largest_first(labels):
    assert draw.fractions(labels, NAMES) == [(0, 1728 / 2400), (1, 600 / 2400), (2, 12 / 2400)]
    assert draw.fractions(np.full((2, 2), 2), NAMES) == [(2, 1.0)]


def test_words_say_how_much_of_what(labels):
    assert draw.describe(labels, NAMES) == 'ground 72 %, cat 25 %, dog < 1 %'


def colours_of(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert('RGB')).astype(int)


def has(picture, colour):
    return (np.abs(picture - colour).max(-1) <= 3).sum()


def test_picture_has_image_labels_and_legend(image, labels, tmp_path):
    picture = colours_of(draw.draw_labels(image, labels, NAMES, PALETTE, tmp_path / 'new/a.png'))
    height, width = picture.shape[:2]
    assert width > 1.5 * height
    mixed = draw.overlay(image, labels, PALETTE)[20, 30]
    assert has(picture[:, : width // 3], mixed) == 0
    assert has(picture[:, : width // 3], GREY) > 10000
    assert has(picture[:, width // 3 : -width // 6], mixed) > 10000  # its labels
    legend = picture[:, -width // 6 :]
    assert has(legend, PALETTE[1]) > 100
    assert has(legend, PALETTE[2]) > 100


def test_legend_leaves_out_what_is_not_there(image, tmp_path):
    path = draw.draw_labels(image, np.zeros((40, 60), int), NAMES, PALETTE, tmp_path / 'a.png')
    assert has(colours_of(path), PALETTE[1]) == has(colours_of(path), PALETTE[2]) == 0


def test_comparison_shows_truth_and_prediction_of_each_image(image, labels, tmp_path):
    guess = np.where(labels == 1, 2, labels)
    mixed = [draw.overlay(image, labels, PALETTE)[20, 30], draw.overlay(image, guess, PALETTE)[20, 30]]
    one = colours_of(draw.draw_comparison([(image, labels, guess)], NAMES, PALETTE, tmp_path / 'one.png'))
    three = colours_of(draw.draw_comparison([(image, labels, guess)] * 3, NAMES, PALETTE, tmp_path / 'three.png'))
    assert three.shape[0] > one.shape[0]
    assert three.shape[1] == one.shape[1]
    for colour in mixed:
        assert has(three, colour) == pytest.approx(3 * has(one, colour), rel=0.1)
    assert has(one, PALETTE[1]) > 100  # the legend
    columns = [np.nonzero((np.abs(one - colour).max(-1) <= 3).any(0))[0].mean() for colour in mixed]
    assert columns[0] < columns[1]


def test_table_of_the_demo_is_in_percent():
    areas = np.array([[60, 5, 0], [80, 20, 0], [70, 10, 0], [70, 15, 0]])
    title, ground, cat, dog, mean = demo.table(areas, NAMES).splitlines()
    assert title.split() == ['IoU', 'Acc']
    assert ground.split() == ['ground', '75.0', '85.7']
    assert cat.split() == ['cat', '25.0', '33.3']
    assert dog.split() == ['dog', '-', '-']
    assert mean.split() == ['mean', '50.0', '59.5']


TINY = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2))


@pytest.fixture
def tiny(tmp_path, mini_seg):
    """Return the paths of a config of the mini recipe with a tiny network, and of its checkpoint: predicts threes."""
    config = tmp_path / 'tiny.py'
    config.write_text(
        f"_base_ = '{CONFIG}'\n"
        f'model = dict(backbone=dict(arch=dict(_delete_=True, **{TINY})), neck=dict(in_channels=[8, 16, 24, 32]))\n'
        f"test_dataloader = dict(dataset=dict(data_root='{mini_seg}', indices=2))\n"
    )
    cfg = load_config(config)
    engine.adapt_to_hardware(cfg)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MODELS.build(cfg.model)
    torch.nn.init.constant_(model.decode_head.conv_seg.bias[4], 99.0)
    meta = dict(dataset_meta=dict(classes=list('abcdefghijk'), palette=[[i, 2 * i, 3 * i] for i in range(11)]))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'tiny.pth')
    return config, tmp_path / 'tiny.pth'


def test_predictor_labels_every_pixel_of_the_image(tiny, mini_seg):
    config, checkpoint = tiny
    path = mini_seg / 'images/validation/ADE_val_00000001.jpg'
    predictor = infer.Predictor(load_config(config), checkpoint)
    labels = predictor(path)
    assert labels.shape == images.read_image(path).shape[:2]
    assert (labels == 4).all()


def test_predictor_takes_the_config_that_a_run_has_written(tiny, mini_seg):
    cfg = load_config(tiny[0])
    cfg.test_dataloader.dataset.pipeline[2] = dict(type='CheckedMap', num_classes=11)
    assert (infer.Predictor(cfg, tiny[1])(mini_seg / 'images/validation/ADE_val_00000002.jpg') == 4).all()


def test_norms_of_the_heads_need_no_gpu(tiny):
    cfg = load_config(tiny[0])
    assert cfg.model.decode_head.norm_cfg.type == 'SyncBN'
    model = infer.Predictor(cfg, tiny[1]).model
    assert any(isinstance(part, torch.nn.SyncBatchNorm) for part in model.modules()) == torch.cuda.is_available()
    assert cfg.model.decode_head.norm_cfg.type == 'SyncBN'


def test_names_and_colours_are_the_checkpoint_s_else_the_config_s(tiny):
    config, checkpoint = tiny
    cfg = load_config(config)
    predictor = infer.Predictor(cfg, checkpoint)
    assert predictor.classes == list('abcdefghijk')
    assert predictor.palette[2] == [2, 4, 6]
    weights = torch.load(checkpoint)['state_dict']
    old = dict(CLASSES=tuple('ABCDEFGHIJK'), PALETTE=[[9, i, 9] for i in range(11)])
    torch.save(dict(state_dict=weights, meta=old), checkpoint)
    predictor = infer.Predictor(cfg, checkpoint)
    assert predictor.classes == list('ABCDEFGHIJK')
    assert predictor.palette[2] == [9, 2, 9]
    torch.save(dict(state_dict=weights), checkpoint)
    predictor = infer.Predictor(cfg, checkpoint)
    assert tuple(predictor.classes) == mini.CLASSES
    assert predictor.palette[2] == mini.PALETTE[2]


def test_names_and_colours_of_a_data_set_s_type():
    meta = infer._meta(dict(type='ADE20KDataset', data_root='nowhere', data_prefix={}))
    assert meta['classes'] == ADE20KDataset.METAINFO['classes']
    assert len(meta['palette']) == 150
    made_up = infer._meta(dict(type='BaseSegDataset', metainfo=dict(classes=NAMES)))
    assert made_up['classes'] == NAMES
    assert len(made_up['palette']) == 3


def test_infer_writes_a_picture_and_says_what_is_on_it(tiny, mini_seg, tmp_path, capsys):
    paths = [mini_seg / f'images/validation/ADE_val_0000000{i}.jpg' for i in (1, 2)]
    assert run_tool('infer', *tiny, *paths, '--out-dir', tmp_path / 'out') == 0
    assert 'e 100 % -> ' in capsys.readouterr().out.splitlines()[-1]
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'ADE_val_00000001.png',
        'ADE_val_00000002.png',
    ]


def test_test_draws_truth_and_prediction_into_the_folder(tiny, mini_seg, tmp_path):
    assert run_tool('test', *tiny, '--work-dir', tmp_path / 'run', '--show-dir', tmp_path / 'shown') == 0
    drawn = sorted((tmp_path / 'shown').rglob('*.png'))
    assert [path.name[:21] for path in drawn] == ['test_ADE_val_00000001', 'test_ADE_val_00000002']
    width = images.read_image(mini_seg / 'images/validation/ADE_val_00000001.jpg').shape[1]
    assert images.read_image(drawn[0]).shape[1] == 2 * width
