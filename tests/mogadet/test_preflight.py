"""Detection data that do not fit: an error that names the fault, or a count of skipped annotations."""

import json
import logging
import re

import numpy as np
import pytest
from mmdet.registry import DATASETS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from PIL import Image
from pycocotools import mask as masks

from mogadet.coco import CheckedCoco
from mogadet.preflight import check_detection

WIDTH, HEIGHT = 64, 48
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
LOAD_MASKS = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True, with_mask=True)]


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmdet'):
        yield


def box(number: int, image: int, bbox: list, category: int = 1, **keys) -> dict:
    x, y, w, h = bbox
    polygon = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return dict(
        dict(id=number, image_id=image, category_id=category, bbox=bbox, area=w * h, iscrowd=0, segmentation=polygon),
        **keys,
    )


@pytest.fixture
def pets(tmp_path):
    """Return a function that writes a data set of three images with the given annotations and keys of the json."""

    def write(annotations=None, **keys):
        root = tmp_path / 'pets'
        (root / 'images').mkdir(parents=True, exist_ok=True)
        images = []
        for i in range(1, 4):
            Image.new('RGB', (WIDTH, HEIGHT), (i * 40, 90, 200)).save(root / f'images/{i}.png')
            images.append(dict(id=i, file_name=f'{i}.png', width=WIDTH, height=HEIGHT))
        if annotations is None:
            annotations = [box(i, i, [4, 5, 20, 10], category=1 + i % 2) for i in range(1, 4)]
        table = dict(
            images=images, annotations=annotations, categories=[dict(id=1, name='cat'), dict(id=2, name='dog')]
        )
        table.update(keys)
        text = json.dumps({key: value for key, value in table.items() if value is not None})
        (root / 'train.json').write_text(text)
        return root

    return write


def load(root, classes=('cat', 'dog'), pipeline=LOAD, **options) -> CheckedCoco:
    return DATASETS.build(
        dict(
            type='CheckedCoco',
            data_root=str(root),
            ann_file='train.json',
            data_prefix=dict(img='images/'),
            metainfo=dict(classes=classes),
            pipeline=pipeline,
            **options,
        )
    )


@pytest.fixture
def said(monkeypatch):
    """Return the log lines of the data sets."""
    lines = []
    monkeypatch.setattr('mogadet.coco.print_log', lambda text, logger=None, level=logging.INFO: lines.append(text))
    return lines


def test_good_data_load_as_mmdet_loads_them_without_a_word(pets, said):
    root = pets()
    checked = load(root, pipeline=LOAD_MASKS)
    plain = DATASETS.build(
        dict(
            type='CocoDataset',
            data_root=str(root),
            ann_file='train.json',
            data_prefix=dict(img='images/'),
            metainfo=dict(classes=('cat', 'dog')),
            pipeline=LOAD_MASKS,
        )
    )
    assert [checked.get_data_info(i) for i in range(3)] == [plain.get_data_info(i) for i in range(3)]
    assert checked[0]['gt_masks'].masks.sum() == 20 * 10
    assert said == []


def test_boxes_that_cannot_be_used_are_left_out_with_a_count(pets, said):
    good = box(1, 1, [4, 5, 20, 10])
    root = pets(
        [
            good,
            box(2, 1, [4, 5, 0, 10]),
            box(3, 2, [4, 5, 20, 0.5]),
            box(4, 1, [4, 5, 20, 10], area=0),
            box(5, 1, [WIDTH, 5, 20, 10]),
            box(6, 1, [-30, 5, 20, 10]),
            box(7, 1, [4, 5, float('nan'), 10], area=1),
            box(8, 2, [4, 5, 20, 10], category=2),
        ]
    )
    data = load(root, classes=('cat',))
    assert [len(data.get_data_info(i)['instances']) for i in range(3)] == [1, 0, 0]
    assert said == [
        f'{root}/train.json: 1 boxes; 2 of 3 images have none; left out: 4 of less than a pixel or without area, first '
        'in 1.png; 2 outside their image, first in 1.png; 1 of other classes, first in 2.png'
    ]


def test_box_that_reaches_out_of_its_image_is_kept(pets, said):
    data = load(pets([box(1, 1, [-5, -5, 20, 20]), box(2, 2, [50, 40, 30, 30]), box(3, 3, [0, 0, WIDTH, HEIGHT])]))
    assert [len(data.get_data_info(i)['instances']) for i in range(3)] == [1, 1, 1]
    assert said == []


def rle(height: int, width: int) -> dict:
    code = masks.encode(np.asfortranarray(np.ones((height, width), np.uint8)))
    return dict(size=list(code['size']), counts=code['counts'].decode())


def test_masks_of_another_size_are_left_out_with_a_count(pets, said):
    annotations = [
        box(1, 1, [4, 5, 20, 10], segmentation=rle(HEIGHT, WIDTH)),
        box(2, 2, [4, 5, 20, 10], segmentation=rle(WIDTH, HEIGHT)),
        box(3, 3, [4, 5, 20, 10], segmentation=[]),
    ]
    data = load(pets(annotations), pipeline=LOAD_MASKS)
    assert [data[i]['gt_masks'].masks.shape[0] for i in range(3)] == [1, 0, 0]
    assert '1 with a mask of another size than their image, first in 2.png; 1 without a mask, first in 3.png' in said[0]
    # Faulty masks do not matter if the pipeline loads no masks.
    assert [len(load(pets(annotations)).get_data_info(i)['instances']) for i in range(3)] == [1, 1, 1]


@pytest.mark.parametrize(
    ('keys', 'message'),
    [
        (dict(images=[]), 'train.json lists no images'),
        (dict(images=None), "train.json has no 'images'"),
        (dict(categories=None), "train.json has no 'categories': expected COCO json with the lists images,"),
        (dict(annotations=[]), 'no box to train on in 3 images .it has no annotations.'),
        (dict(annotations=[box(1, 1, [4, 5, 0, 0])]), 'no box to train on in 3 images .1 of less than a pixel'),
        (
            dict(annotations=[dict(id=7, image_id=1, category_id=1, bbox=[1, 2, 3, 4])]),
            "annotation 7 of 1.png has no 'area'",
        ),
        (dict(annotations=[dict(id=7)]), "train.json: an entry of it has no 'image_id'"),
        (dict(images=[dict(id=1, file_name='1.png')]), "train.json: image 1 has no 'height'"),
        (
            dict(categories=[dict(id=1, name='chat'), dict(id=2, name='dog')]),
            r"has the categories chat, dog, and .* it has not cat: set metainfo=dict\(classes=\('chat', 'dog', ...\)\)",
        ),
        (
            dict(categories=[dict(id=1, name='dog'), dict(id=2, name='cat')]),
            'has the classes in the order dog, cat, the data set in the order cat, dog',
        ),
        (
            dict(categories=[dict(id=1, name='cat'), dict(id=2, name='dog'), dict(id=3, name='dog')]),
            'in the order cat, dog, dog',
        ),
    ],
)
def test_file_that_cannot_be_used_is_named(keys, message, pets):
    with pytest.raises(ValueError, match=message):
        load(pets(**keys))


def test_file_that_is_no_json_is_named(pets):
    root = pets()
    (root / 'train.json').write_text((root / 'train.json').read_text()[:100])
    with pytest.raises(ValueError, match=r'train\.json cannot be read as COCO json: '):
        load(root)


def test_boxes_without_masks_name_a_model_for_them(pets):
    root = pets([box(1, 1, [4, 5, 20, 10], segmentation=[])])
    with pytest.raises(ValueError, match=r'1 without a mask.*a model without a mask head, such as Faster R-CNN'):
        load(root, pipeline=LOAD_MASKS)


def test_test_data_may_have_no_boxes(pets, said):
    assert len(load(pets([]), test_mode=True)) == 3
    assert '0 boxes; 3 of 3 images have none' in said[0]


def test_missing_images_are_counted_and_the_first_is_named(pets):
    root = pets()
    (root / 'images/2.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'images/2\.png does not exist; .* names 1 such of 3 images'):
        load(root)
    with pytest.raises(FileNotFoundError, match='names 3 such of 3 images'):
        DATASETS.build(
            dict(
                type='CheckedCoco',
                data_root=str(root),
                ann_file='train.json',
                pipeline=LOAD,
                data_prefix=dict(img='photos/'),
                metainfo=dict(classes=('cat', 'dog')),
            )
        )


def test_unreadable_image_is_named(pets):
    root = pets()
    (root / 'images/2.png').write_bytes(b'\x89PNG but not really')
    data = load(root)
    assert data[0]['img'].shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(ValueError, match=r'images/2\.png cannot be read as an image'):
        data[1]


def test_image_removed_after_the_start_is_named(pets):
    root = pets()
    data = load(root)
    (root / 'images/3.png').unlink()
    with pytest.raises(FileNotFoundError, match=r'images/3\.png'):
        data[2]


def config(root, classes=('cat', 'dog'), **keys) -> Config:
    """Return a config with the class numbers of two heads, and a data set in a wrapper."""
    dataset = dict(type='CocoDataset', data_root=str(root), ann_file='train.json', data_prefix=dict(img='images/'))
    if classes:
        dataset['metainfo'] = dict(classes=classes)
    head = dict(bbox_head=[dict(type='Shared2FCBBoxHead', num_classes=2)], mask_head=dict(num_classes=2))
    return Config(
        dict(
            model=dict(roi_head=head, semantic_head=dict(num_classes=183)),
            train_dataloader=dict(dataset=dict(type='RepeatDataset', times=2, dataset=dict(dataset, **keys))),
        )
    )


def test_check_lets_the_file_be_checked_as_it_is_read(pets):
    cfg = config(pets())
    check_detection(cfg, ('train_dataloader', 'val_dataloader'))
    assert cfg.train_dataloader.dataset.dataset.type == 'CheckedCoco'
    assert len(DATASETS.build(cfg.train_dataloader.dataset)) == 6


def test_other_data_sets_stay_as_they_are(pets):
    cfg = config(pets(), type='LVISV1Dataset')
    check_detection(cfg, ('train_dataloader',))
    assert cfg.train_dataloader.dataset.dataset.type == 'LVISV1Dataset'


@pytest.mark.parametrize(
    ('classes', 'words'),
    [
        (
            ('cat', 'dog', 'fox'),
            [
                'train_dataloader.dataset has 3 classes',
                'model.roi_head.bbox_head.0.num_classes is 2: set --cfg-options ',
                'model.roi_head.bbox_head.0.num_classes=3 model.roi_head.mask_head.num_classes=3',
            ],
        ),
        (None, ['the 80 classes of the original data', 'set metainfo=dict(classes=(...)) in each dataset']),
        ('cat', ["metainfo.classes='cat' is one string"]),
    ],
)
def test_number_of_classes_must_be_the_heads(classes, words, pets):
    with pytest.raises(ValueError, match=re.escape(words[0])) as error:
        check_detection(config(pets(), classes), ('train_dataloader',))
    assert [word for word in words if word not in str(error.value)] == []


def test_missing_annotation_file_is_named_with_the_layout(pets):
    message = r'pets/val\.json \(train_dataloader\.dataset\.ann_file\) does not exist; expected annotations/\*\.json'
    with pytest.raises(FileNotFoundError, match=message):
        check_detection(config(pets(), ann_file='val.json'), ('train_dataloader',))


@pytest.fixture
def voc(tmp_path):
    """Return a VOC folder with one image."""
    for folder in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (tmp_path / 'voc' / folder).mkdir(parents=True)
    Image.new('RGB', (WIDTH, HEIGHT)).save(tmp_path / 'voc/JPEGImages/a.jpg')
    (tmp_path / 'voc/ImageSets/Main/train.txt').write_text('a\n')
    (tmp_path / 'voc/Annotations/a.xml').write_text(
        f'<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size><object><name>dog</name><bndbox>'
        '<xmin>5</xmin><ymin>6</ymin><xmax>25</xmax><ymax>16</ymax></bndbox></object></annotation>'
    )
    return tmp_path / 'voc'


def voc_config(root, classes=('cat', 'dog')) -> Config:
    return config(
        root, classes, type='XMLDataset', ann_file='ImageSets/Main/train.txt', data_prefix=dict(sub_data_root='')
    )


def test_voc_folder_passes(voc):
    cfg = voc_config(voc)
    check_detection(cfg, ('train_dataloader',))
    assert cfg.train_dataloader.dataset.dataset.type == 'XMLDataset'


def test_voc_folder_without_the_classes_is_named(voc):
    with pytest.raises(ValueError, match=r'none of the classes cow, cat in its first 50 files, which have dog'):
        check_detection(voc_config(voc, ('cow', 'cat')), ('train_dataloader',))


def test_voc_folder_with_a_broken_or_missing_file_names_it(voc):
    (voc / 'Annotations/a.xml').write_text('<annotation>')
    with pytest.raises(ValueError, match=r'a\.xml cannot be read as XML'):
        check_detection(voc_config(voc), ('train_dataloader',))
    (voc / 'Annotations/a.xml').unlink()
    with pytest.raises(FileNotFoundError, match=r'a\.xml does not exist, and .*train\.txt names it'):
        check_detection(voc_config(voc), ('train_dataloader',))
