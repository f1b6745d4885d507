"""Segmentation data that do not fit: an error that names the file, at the start or when the file is read."""

import logging
import re

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import DATASETS
from PIL import Image

from helpers.tool_runs import ROOT, run_tool
from moganet.run.config import load_config
from mogaseg.loading import CheckedImage, CheckedMap
from mogaseg.preflight import check_segmentation

WIDTH, HEIGHT = 64, 48
CLASSES = ('ground', 'cat', 'dog')
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmseg'):
        yield


@pytest.fixture
def labels():
    """Return a map of the three classes in ADE20K's numbering: 0 is unlabelled."""
    pixels = np.ones((HEIGHT, WIDTH), np.uint8)
    pixels[:10], pixels[20:, 30:], pixels[20:, :10] = 0, 2, 3
    return pixels


@pytest.fixture
def pets(tmp_path, labels):
    """Return a folder of three images and their maps."""
    root = tmp_path / 'pets'
    for folder in ('img', 'map'):
        (root / folder).mkdir(parents=True)
    for i in range(3):
        Image.new('RGB', (WIDTH, HEIGHT), (i * 40, 90, 200)).save(root / f'img/{i}.jpg')
        Image.fromarray(labels).save(root / f'map/{i}.png')
    return root


def config(root, number=3, **keys) -> Config:
    """Return a config with two heads and a data set in a wrapper."""
    dataset = dict(
        type='BaseSegDataset',
        data_root=str(root),
        data_prefix=dict(img_path='img', seg_map_path='map'),
        reduce_zero_label=True,
        metainfo=dict(classes=CLASSES),
        pipeline=LOAD,
    )
    others = [dict(type='FCNHead', num_classes=number), dict(type='STDCHead', num_classes=2)]
    model = dict(decode_head=dict(type='FPNHead', num_classes=number), auxiliary_head=others)
    wrapped = dict(type='RepeatDataset', times=2, dataset=dict(dataset, **keys))
    return Config(dict(model=model, train_dataloader=dict(dataset=wrapped)))


def check(cfg, loaders=('train_dataloader', 'val_dataloader')) -> Config:
    check_segmentation(cfg, loaders)
    return cfg


def built(cfg):
    return DATASETS.build(cfg.train_dataloader.dataset.dataset)


def test_good_data_load_as_mmseg_loads_them(pets):
    plain = built(config(pets))
    checked = built(check(config(pets)))
    steps = checked.pipeline.transforms
    assert [type(step) for step in steps] == [CheckedImage, CheckedMap]
    assert (steps[1].num_classes, steps[1].ignore_index) == (3, 255)
    for ours, theirs in zip(checked, plain, strict=True):
        assert ours.keys() == theirs.keys()
        assert (ours['img'] == theirs['img']).all()
        assert (ours['gt_seg_map'] == theirs['gt_seg_map']).all()


def test_labels_count_from_1_if_0_is_unlabelled(pets, labels):
    found = built(check(config(pets)))[0]['gt_seg_map']
    assert (found[labels == 0] == 255).all()
    assert (found[labels == 3] == 2).all()


def test_checks_are_there_in_a_config_that_a_run_has_written(pets):
    cfg = check(config(pets))
    again = check(Config(cfg.to_dict()))
    assert again.train_dataloader == cfg.train_dataloader


@pytest.mark.parametrize('mode', ['P', '1'])
def test_palette_and_two_colour_maps_are_numbers(pets, labels, mode):
    wanted = labels if mode == 'P' else (labels > 0).astype(np.uint8)
    picture = Image.fromarray(wanted if mode == 'P' else wanted.astype(bool))
    if mode == 'P':
        picture.putpalette([200, 30, 30, 10, 20, 240, 5, 5, 5, 0, 255, 0])
    picture.save(pets / 'map/1.png')
    with Image.open(pets / 'map/1.png') as image:
        assert image.mode == mode
    found = built(check(config(pets)))[1]['gt_seg_map']
    assert (found == np.where(wanted == 0, 255, wanted - 1)).all()


def spoil(path, labels, how):
    """Write a map that cannot be used."""
    width = labels.shape[1]
    if how == 'size':
        Image.fromarray(labels[:, : width // 2]).save(path)
    elif how == 'turned':
        Image.fromarray(labels.T).save(path)
    elif how == 'RGB':
        Image.fromarray(labels).convert('RGB').save(path)
    elif how == 'RGBA':
        Image.fromarray(labels).convert('RGBA').save(path)
    elif how == '16 bits':
        Image.fromarray(labels.astype(np.uint16) + 256).save(path)  # which mmseg reads as the labels themselves
    elif how == 'label':
        Image.fromarray(labels + (labels == 3) * np.uint8(4)).save(path)
    elif how == 'cut off':
        path.write_bytes(path.read_bytes()[:60])
    else:
        path.unlink()


FAULTS = {
    'size': r'map/1\.png has 32x48 pixels \(width x height\) and its image .*img/1\.jpg 64x48',
    'turned': r'map/1\.png has 48x64 pixels .* 64x48: expected one label per pixel: the image is turned as its EXIF',
    'RGB': r'map/1\.png holds colours \(mode RGB\): expected one channel',
    'RGBA': r'map/1\.png holds colours \(mode RGBA\)',
    '16 bits': r'map/1\.png has more than 8 bits per pixel \(mode I.*: save it as an 8-bit PNG',
    'label': r'map/1\.png has the label 7, and the 3 classes of the data set have 1 to 3 '
    r'\(reduce_zero_label=True: 0 is unlabelled and classes count from 1\); 255 is ignored',
    'cut off': r'map/1\.png cannot be read as an image',
    'missing': r'map/1\.png does not exist',
}


@pytest.mark.parametrize('how', FAULTS)
def test_map_that_cannot_be_used_is_named_at_the_start(how, pets, labels):
    spoil(pets / 'map/1.png', labels, how)
    with pytest.raises((ValueError, FileNotFoundError), match=FAULTS[how]):
        check(config(pets))


@pytest.mark.parametrize('how', FAULTS)
def test_map_that_cannot_be_used_is_named_when_it_is_read(how, pets, labels):
    data = built(check(config(pets)))
    spoil(pets / 'map/1.png', labels, how)
    assert data[0]['gt_seg_map'].shape == (HEIGHT, WIDTH)
    with pytest.raises((ValueError, FileNotFoundError), match=FAULTS[how]):
        data[1]


def test_size_is_that_of_the_photograph_also_after_a_resize(pets, labels):
    resized = [LOAD[0], dict(type='Resize', scale=(32, 32), keep_ratio=True), LOAD[1]]
    data = built(check(config(pets, pipeline=resized)))
    assert data[1]['gt_seg_map'].shape == (HEIGHT, WIDTH)
    spoil(pets / 'map/1.png', labels, 'size')
    with pytest.raises(ValueError, match=FAULTS['size']):
        data[1]


def test_palette_map_is_refused_where_its_colours_would_be_read(pets, labels):
    Image.fromarray(labels).convert('P').save(pets / 'map/1.png')
    pipeline = [LOAD[0], dict(type='LoadAnnotations', imdecode_backend='cv2')]
    with pytest.raises(ValueError, match=r"map/1\.png has a palette, and imdecode_backend='cv2' reads its colours"):
        check(config(pets, pipeline=pipeline))


def test_label_just_above_the_classes_hints_at_reduce_zero_label(pets):
    with pytest.raises(ValueError, match=r'has the label 3, .* have 0 to 2 .*set reduce_zero_label=True in each'):
        check(config(pets, reduce_zero_label=False))


def test_labels_that_the_loss_ignores_are_not_counted(pets, labels):
    Image.fromarray(np.where(labels == 0, 9, labels - 1).astype(np.uint8)).save(pets / 'map/1.png')
    cfg = config(pets, reduce_zero_label=False)
    for i in (0, 2):
        (pets / f'map/{i}.png').write_bytes((pets / 'map/1.png').read_bytes())
    with pytest.raises(ValueError, match='has the label 9'):
        check(Config(cfg.to_dict()))
    cfg.model.decode_head.ignore_index = 9
    assert built(check(cfg)).pipeline.transforms[1].ignore_index == 9


def test_unreadable_image_is_named(pets):
    data = built(check(config(pets)))
    (pets / 'img/1.jpg').write_bytes(b'\xff\xd8 but not really')
    with pytest.raises(ValueError, match=r'img/1\.jpg cannot be read as an image'):
        data[1]
    (pets / 'img/1.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'img/1\.jpg does not exist'):
        data[1]


def test_missing_maps_are_counted(pets):
    for i in (1, 2):
        (pets / f'map/{i}.png').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'map/1\.png does not exist; 2 such segmentation maps of 3 are missing'
    ):
        check(config(pets))


def test_missing_folders_and_lists_are_named(pets):
    message = r'pets/maps \(train_dataloader\.dataset\.data_prefix\.seg_map_path\) does not exist; expected a folder of'
    with pytest.raises(FileNotFoundError, match=message):
        check(config(pets, data_prefix=dict(img_path='img', seg_map_path='maps')))
    with pytest.raises(FileNotFoundError, match=r'pets/train\.txt \(train_dataloader\.dataset\.ann_file\) does not'):
        check(config(pets, ann_file='train.txt'))
    (pets / 'train.txt').write_text('0\n7\n')
    with pytest.raises(FileNotFoundError, match=r'img/7\.jpg does not exist; 1 such images of 2 are missing'):
        check(config(pets, ann_file='train.txt'))
    with pytest.raises(ValueError, match=r"img .* holds no images whose name ends in '\.jpeg': set img_suffix"):
        check(config(pets, img_suffix='.jpeg'))


def test_maps_without_an_image_are_told(pets, monkeypatch):
    said = []
    monkeypatch.setattr('mogaseg.preflight.print_log', lambda text, logger=None, level=logging.INFO: said.append(text))
    check(config(pets))
    assert said == []
    (pets / 'img/2.jpg').rename(pets / 'img/2.jpeg')
    check(config(pets))
    assert said == [
        "train_dataloader.dataset: 3 segmentation maps and 2 images whose name ends in '.jpg'; the other "
        'maps are not used'
    ]


def test_images_without_maps_may_be_tested(pets):
    cfg = config(pets, data_prefix=dict(img_path='img'), pipeline=LOAD[:1], test_mode=True)
    assert built(check(cfg))[0]['img'].shape == (HEIGHT, WIDTH, 3)


@pytest.mark.parametrize(
    ('keys', 'words'),
    [
        (
            dict(number=4),
            [
                'train_dataloader.dataset has 3 classes, and model.decode_head.num_classes is 4',
                'model.decode_head.num_classes=3 model.auxiliary_head.0.num_classes=3',
            ],
        ),
        (dict(metainfo={}), ['has no classes', 'set metainfo=dict(classes=(...)) in each dataset']),
        (dict(metainfo=dict(classes='cat')), ["metainfo.classes='cat' is one string"]),
        (
            dict(type='ADE20KDataset'),
            ["ADE20KDataset has 150 classes of its own, and 'ground' is none of them", "type='BaseSegDataset'"],
        ),
        (dict(type='ADE20KDataset', metainfo={}), ['the 150 classes of ADE20KDataset', 'num_classes is 3']),
        (
            dict(pipeline=[LOAD[0], dict(LOAD[1], reduce_zero_label=False)]),
            ['has reduce_zero_label=True, and LoadAnnotations of its pipeline has False: leave it out there'],
        ),
    ],
)
def test_config_that_does_not_fit_its_data_says_what_to_set(keys, words, pets):
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        check(config(pets, **keys))
    assert [word for word in words if word not in str(error.value)] == []


def test_a_part_of_a_data_set_s_own_classes_fits(pets):
    names = ('wall', 'floor', 'sky')
    cfg = config(pets, type='ADE20KDataset', metainfo=dict(classes=names))
    del cfg.train_dataloader.dataset.dataset['reduce_zero_label']
    # ADE20K has wall, building, sky, floor. Building is not among the three, and floor comes before sky here.
    found = np.unique(built(check(cfg))[0]['gt_seg_map'])
    assert found.tolist() == [0, 2, 255]


def test_other_data_sets_and_loaders_stay_as_they_are():
    other = dict(type='LEVIRCDDataset', data_root='x', data_prefix=dict(img_path='a', img_path2='b'), pipeline=LOAD)
    cfg = Config(dict(model={}, train_dataloader=dict(dataset=other)))
    assert check(cfg).train_dataloader.dataset.pipeline == LOAD


@pytest.mark.parametrize('how', ['label', 'RGB', 'missing'])
def test_training_stops_with_one_line(how, mini_seg, tmp_path, capsys):
    root = tmp_path / 'seg'
    for path in sorted(mini_seg.rglob('*00000[123].*')):
        target = root / path.relative_to(mini_seg)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    wrong = root / 'annotations/training/ADE_train_00000002.png'
    pixels = np.asarray(Image.open(wrong)).copy()
    pixels[0, 0] = 12
    spoil(wrong, pixels, how) if how != 'label' else Image.fromarray(pixels).save(wrong)
    code = run_tool(
        'train',
        ROOT / 'configs/seg/fpn_moganet_xt_mini.py',
        '--work-dir',
        tmp_path / 'run',
        '--cfg-options',
        f'data_root={root}',
    )
    error = capsys.readouterr().err.strip().splitlines()
    assert code == 1
    assert len(error) == 1
    assert error[0].startswith('error: ')
    assert 'annotations/training/ADE_train_00000002.png' in error[0]


def test_layout_of_ade20k_is_told(tmp_path, capsys):
    cfg = load_config(ROOT / 'configs/seg/fpn_moganet_xt.py')
    assert cfg.train_dataloader.dataset.type == 'ADE20KDataset'
    code = run_tool(
        'train',
        ROOT / 'configs/seg/fpn_moganet_xt.py',
        '--work-dir',
        tmp_path,
        '--cfg-options',
        f'data_root={tmp_path}/ade',
    )
    assert code == 1
    assert 'expected there: images/{training,validation}/*.jpg and annotations/' in capsys.readouterr().err
