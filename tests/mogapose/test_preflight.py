"""Invalid keypoint data: errors that name file and annotation, and counts of skipped annotations."""

import copy
import logging

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.registry import DATASETS

from helpers.keypoint_files import BOXES, HEIGHT, JOINTS, WIDTH, box, person, write_boxes, write_people
from helpers.tool_runs import ROOT, run_tool
from moganet.run.config import load_config
from mogapose.coco import CheckedCoco
from mogapose.preflight import check_pose

NAN, BOX = float('nan'), [10, 6, 30, 60]
LOADERS = ('train_dataloader', 'val_dataloader')
PARENT = ROOT / 'configs/pose/moganet_xt_256x192.py'


@pytest.fixture(autouse=True)
def scope():
    with DefaultScope.overwrite_default_scope('mmpose'):
        yield


@pytest.fixture
def said(monkeypatch):
    """The log lines of the data sets."""
    lines = []
    monkeypatch.setattr('mogapose.coco.print_log', lambda text, logger=None, level=logging.INFO: lines.append(text))
    return lines


@pytest.fixture
def root(tmp_path):
    return tmp_path / 'people'


def settings(root, split='val', kind='CheckedCoco', **options) -> dict:
    return dict(
        dict(
            type=kind,
            data_root=str(root),
            ann_file=f'annotations/person_keypoints_{split}2017.json',
            data_prefix=dict(img=f'{split}2017/'),
            pipeline=[dict(type='LoadImage')],
        ),
        **options,
    )


def load(root, **options) -> CheckedCoco:
    return DATASETS.build(settings(root, **options))


def tampered(index: int = 7, **changes) -> dict:
    """Write annotation 2 of the second image with changed keys; None removes a key."""
    found = person(index, 2, BOX)
    return {key: value for key, value in (found | changes).items() if value is not None}


def joints(**changes) -> list:
    """Keypoints with single numbers changed: ``joints(_3=5)``."""
    found = person(1, 1, BOX)['keypoints']
    for place, value in changes.items():
        found[int(place[1:])] = value
    return found


def test_good_data_load_as_mmpose_loads_them_without_a_word(root, said):
    write_people(root)
    checked, plain = load(root), load(root, kind='CocoDataset')
    assert len(checked) == len(plain) == 4
    for mine, theirs in zip(checked, plain, strict=True):
        assert mine.keys() == theirs.keys()
        for key in ('img', 'bbox', 'keypoints', 'keypoints_visible', 'area', 'id'):
            assert np.array_equal(mine[key], theirs[key])
    assert said == []


def test_what_coco_holds_beside_usable_persons_is_left_out_with_a_count(root, said):
    write_people(
        root,
        annotations=[
            person(1, 1, BOX),
            person(2, 1, BOX, num_keypoints=0, keypoints=[0] * 3 * JOINTS),
            person(3, 1, BOX, num_keypoints=0),
            person(4, 2, BOX, iscrowd=1, num_keypoints=0),
            person(5, 2, [10, 6, 0, 60]),
            person(6, 2, [10, 6, 30, 0]),
            person(7, 3, [WIDTH + 5, 6, 30, 60]),
            person(8, 3, [-40, 6, 30, 60]),
            person(9, 3, [10, 6, -4, 60]),
        ],
    )
    data = load(root)
    assert [data.get_data_info(i)['id'] for i in range(len(data))] == [1]
    assert len(load(root, kind='CocoDataset')) == 1
    assert said == [
        f'{root}/annotations/person_keypoints_val2017.json: 1 persons; left out: 2 without joints, first in 1.jpg '
        '(annotation 2); 1 crowds, first in 2.jpg (annotation 4); 5 without a box of any size in their image, first in '
        '2.jpg (annotation 5)'
    ]


def test_box_that_reaches_out_of_its_image_is_kept(root, said):
    write_people(root, annotations=[person(1, 1, [-5, -5, 30, 60]), person(2, 2, [0, 0, WIDTH, HEIGHT])])
    assert len(load(root)) == 2
    assert said == []


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(num_keypoints=None), "annotation 7 has no 'num_keypoints': expected the number of its joints with"),
        (dict(keypoints=None), "annotation 7 has no 'keypoints': expected a file of keypoints, such as "),
        (dict(bbox=None), "annotation 7 has no 'bbox'$"),
        (dict(category_id=None), "an entry of it has no 'category_id'"),
        (dict(image_id=None), "an entry of it has no 'image_id'"),
        (dict(id=None), "an entry of it has no 'id'"),
        (
            dict(keypoints=[1, 2, 2] * 14),
            r'annotation 7 has 42 numbers in keypoints, expected 51: x, y and visibility '
            "of the 17 joints of 'coco'",
        ),
        (dict(keypoints=[1, 2] * 17), 'annotation 7 has 34 numbers in keypoints, expected 51'),
        (dict(keypoints=joints(_4=NAN)), 'annotation 7 has keypoints that are no numbers'),
        (dict(keypoints=joints(_3='left')), 'annotation 7 has keypoints that are no numbers'),
        (dict(bbox=[1, NAN, 3, 4]), r'annotation 7 has the bbox \[1, nan, 3, 4\], expected x, y, width and height'),
        (dict(bbox=[1, 2, 3]), r'annotation 7 has the bbox \[1, 2, 3\], expected'),
        (dict(bbox=[1, 2, float('inf'), 4]), r'annotation 7 has the bbox \[1, 2, inf, 4\], expected'),
        (dict(image_id=99), 'annotation 7 is of image_id 99, which the file does not list'),
        (dict(category_id=5), 'annotation 7 is of category_id 5, which the file does not list'),
    ],
    ids=lambda value: None if isinstance(value, str) else '-'.join(value),
)
def test_annotation_that_cannot_be_used_is_named_with_its_file(changes, message, root):
    path = write_people(root, annotations=[person(1, 1, BOX), tampered(**changes)])
    with pytest.raises(ValueError, match=message) as error:
        load(root)
    assert str(error.value).startswith(f'{path}: ')
    assert '\n' not in str(error.value)


def test_area_is_asked_for_where_it_is_evaluated(root):
    for split in ('train', 'val'):
        write_people(root, split, [person(1, 1, BOX), tampered(area=None)])
    assert len(load(root, split='train')) == 2
    with pytest.raises(ValueError, match="annotation 7 has no 'area'"):
        load(root, test_mode=True)


@pytest.mark.parametrize(
    ('tables', 'message'),
    [
        (dict(images=[]), 'has no images: expected COCO json with the lists images, annotations and categories'),
        (dict(images=None), 'has no images: expected'),
        (dict(categories=None), 'has no categories: expected'),
        (dict(categories=[]), 'has no categories: expected'),
        (dict(annotations=[]), 'has no annotations: expected'),
        (dict(images=[dict(id=1, file_name='1.jpg')]), "an entry of it has no 'width'"),
        (dict(images=[dict(id=1, width=9, height=9)]), "an entry of it has no 'file_name'"),
        (
            dict(annotations=[person(1, 1, [10, 6, 0, 0])]),
            r'no person to use \(1 without a box of any size in their image, first in 1.jpg \(annotation 1\)\)',
        ),
    ],
)
def test_file_that_cannot_be_used_is_named(tables, message, root):
    path = write_people(root, **tables)
    with pytest.raises(ValueError, match=message) as error:
        load(root)
    assert str(path) in str(error.value)


@pytest.mark.parametrize('text', ['{"images": [', '[1, 2]', '\x00', '7', '{"images": 3}'])
def test_file_that_is_no_coco_json_is_named(text, root):
    path = write_people(root)
    path.write_text(text)
    with pytest.raises(ValueError, match='cannot be read as COCO json: ') as error:
        load(root)
    assert str(error.value).startswith(str(path))


def test_missing_images_are_counted_and_the_first_is_named(root):
    write_people(root)
    (root / 'val2017/2.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'val2017/2\.jpg does not exist; .* names 1 such of 3 images'):
        load(root)
    with pytest.raises(FileNotFoundError, match=r"names 3 such of 3 images: look at the dataset's data_prefix\.img"):
        load(root, data_prefix=dict(img='photos/'))


def test_image_without_persons_may_be_missing(root):
    write_people(root, annotations=[person(1, 1, BOX)])
    (root / 'val2017/2.jpg').unlink()
    assert len(load(root)) == 1


def test_unreadable_image_is_named(root):
    write_people(root)
    (root / 'val2017/2.jpg').write_bytes(b'\xff\xd8 but not really')
    data = load(root)
    assert data[0]['img'].shape == (HEIGHT, WIDTH, 3)
    with pytest.raises(ValueError, match=r'val2017/2\.jpg cannot be read as an image'):
        data[2]


def test_joints_are_those_of_the_metainfo(root):
    two = dict(
        dataset_name='two',
        skeleton_info={},
        joint_weights=[1.0, 1.0],
        sigmas=[0.1, 0.1],
        keypoint_info={i: dict(name=str(i), id=i, color=[0, 0, 0], type='', swap='') for i in range(2)},
    )
    write_people(root, annotations=[person(1, 1, BOX, keypoints=[20, 20, 2, 30, 30, 1], num_keypoints=2)])
    assert load(root, metainfo=two)[0]['keypoints'].shape == (1, 2, 2)
    with pytest.raises(ValueError, match='annotation 1 has 6 numbers in keypoints, expected 51'):
        load(root)
    with pytest.raises(
        ValueError, match='metainfo with the keys classes: expected from_file=PATH, or all of dataset_na'
    ):
        load(root, metainfo=dict(classes=('person',)))


def test_bottom_up_models_get_whole_images(root, said):
    write_people(root, annotations=[person(1, 1, BOX), person(2, 1, BOX, num_keypoints=0)])
    data = load(root, data_mode='bottomup')
    # mmpose keeps the second annotation: unlabelled persons are not trained as background.
    assert len(data) == 1
    assert data.get_data_info(0)['bbox'].shape == (2, 4)
    assert said == []


# Boxes of a detector.


def test_detected_boxes_are_those_of_the_file(root, said):
    write_people(root)
    write_boxes(root, [box(1, [1, 2, 30, 40], 0.4), box(3, [5, 6, 7, 8], 0.2), box(2, [0, 0, 9, 9], category_id=3)])
    data = load(root, test_mode=True, bbox_file=f'{root}/{BOXES}')
    found = [
        (d['img_id'], d['bbox'].tolist(), float(d['bbox_score'][0])) for d in map(data.get_data_info, range(len(data)))
    ]
    assert found == [(1, [[1, 2, 31, 42]], pytest.approx(0.4)), (3, [[5, 6, 12, 14]], pytest.approx(0.2))]
    assert said == []


def test_missing_standard_boxes_give_way_to_annotated_ones_with_a_word(root, said):
    write_people(root)
    data = load(root, test_mode=True, bbox_file=f'{root}/{BOXES}')
    assert data.get_data_info(0)['bbox'].tolist() == [[10, 6, 40, 66]]
    assert said == [
        f'{root}/{BOXES} does not exist: persons are taken in their annotated boxes. AP with these cannot be compared '
        'with the tables, which have the boxes of that file'
    ]


@pytest.mark.parametrize(
    ('boxes', 'message'),
    [
        (dict(annotations=[]), r'\.json \(or .*\) does not fit: expected a list of dicts with image_id, category_id'),
        ([[1, 2, 3, 4]], r'entry 0 is \[1, 2, 3, 4\]; expected a list of dicts'),
        ([box(1, BOX), dict(image_id=1, bbox=BOX, score=1)], "entry 1 is {'image_id': 1, .*; expected a list of dicts"),
        ([dict(image_id=1, bbox=BOX, category_id=1)], "entry 0 is {'image_id': 1, .*; expected .* and score"),
        ([box(1, BOX), box(9, BOX)], r'entry 1 is of image 9, which .*person_keypoints_val2017\.json does not list'),
        ([box(1, [1, 2])], 'does not fit: expected a list of dicts .*cannot reshape'),
        ([box(1, BOX, category_id=2)], r'no person to use \(it has no boxes of category_id 1\)'),
        ([], 'no person to use'),
        ([box(1, [1, 2, 0, 5])], r'no person to use \(1 without a box of any size, first in .*val2017/1.jpg\)'),
    ],
)
def test_file_of_boxes_that_cannot_be_used_is_named(boxes, message, root):
    write_people(root)
    path = write_boxes(root, boxes)
    with pytest.raises(ValueError, match=message) as error:
        load(root, test_mode=True, bbox_file=str(path))
    assert str(error.value).startswith(str(path))


def test_file_of_boxes_that_is_no_json_is_named(root):
    write_people(root)
    path = write_boxes(root, [])
    path.write_text('[{"image_id": 1')
    with pytest.raises(ValueError, match='cannot be read as json: ') as error:
        load(root, test_mode=True, bbox_file=str(path))
    assert str(error.value).startswith(str(path))


def test_broken_boxes_are_left_out_with_a_count(root, said):
    write_people(root)
    path = write_boxes(root, [box(1, BOX), box(2, [1, 2, 0, 5]), box(2, [1, NAN, 5, 5])])
    assert len(load(root, test_mode=True, bbox_file=str(path))) == 1
    assert said == [f'{path}: 1 persons; left out: 2 without a box of any size, first in {root}/val2017/2.jpg']


# The check of a config.


@pytest.fixture
def cfg(root) -> Config:
    for split in ('train', 'val'):
        write_people(root, split)
    return load_config(PARENT, dict(data_root=str(root)))


def test_check_lets_files_be_checked_as_they_are_read(cfg, root):
    check_pose(cfg, LOADERS)
    assert [cfg[name].dataset.type for name in LOADERS] == ['CheckedCoco'] * 2
    assert cfg.test_dataloader.dataset.type == 'CocoDataset'
    assert len(DATASETS.build(cfg.train_dataloader.dataset)) == 4
    assert cfg.val_dataloader.dataset.bbox_file == f'{root}/{BOXES}'  # the missing file is reported when it is read


def test_wrapped_data_sets_are_checked_and_others_stay(cfg):
    inner = copy.deepcopy(cfg.train_dataloader.dataset)
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=inner)
    cfg.val_dataloader.dataset.type = 'MpiiDataset'
    check_pose(cfg, LOADERS)
    assert cfg.train_dataloader.dataset.dataset.type == 'CheckedCoco'
    assert cfg.val_dataloader.dataset.type == 'MpiiDataset'


def test_configs_of_other_tasks_stay_as_they_are(cfg):
    cfg.default_scope = 'mmdet'
    check_pose(cfg, LOADERS)
    assert [cfg[name].dataset.type for name in LOADERS] == ['CocoDataset'] * 2


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            {'train_dataloader.dataset.ann_file': 'mine.json'},
            r'people/mine\.json \(train_dataloader\.dataset\.ann_file\) does not exist; expected annotations/\*\.json',
        ),
        ({'val_evaluator.ann_file': 'other.json'}, r'other\.json \(val_evaluator\.ann_file\) does not exist; expected'),
        (
            {'val_dataloader.dataset.bbox_file': 'mine.json'},
            r'mine\.json \(val_dataloader\.dataset\.bbox_file\) does not exist; None takes the annotated boxes',
        ),
        # The standard name in a folder that no recipe names.
        ({'val_dataloader.dataset.bbox_file': f'elsewhere/{BOXES}'}, r'elsewhere/.*bbox_file\) does not exist'),
    ],
)
def test_missing_file_that_was_named_is_an_error(options, message, cfg):
    cfg.merge_from_dict(options)
    with pytest.raises(FileNotFoundError, match=message):
        check_pose(cfg, LOADERS)


def test_files_of_loaders_that_are_not_used_may_be_missing(cfg):
    cfg.val_evaluator.ann_file = cfg.val_dataloader.dataset.bbox_file = 'missing.json'
    check_pose(cfg, LOADERS[:1])


@pytest.mark.parametrize('head', ['HeatmapHead', 'mmpose.SimCCHead'])
def test_number_of_joints_must_be_the_heads(head, cfg):
    cfg.model.head.update(type=head, out_channels=14)
    message = (
        r"train_dataloader\.dataset has the 17 joints of 'coco', and model\.head\.out_channels is 14: set "
        r'--cfg-options model\.head\.out_channels=17'
    )
    with pytest.raises(ValueError, match=message):
        check_pose(cfg, LOADERS)


def test_channels_that_are_no_joints_are_not_compared(cfg):
    cfg.model.head.update(out_channels=51, decoder=dict(type='UDPHeatmap', heatmap_type='combined'))
    check_pose(cfg, LOADERS)
    cfg.model.head = dict(type='AssociativeEmbeddingHead', out_channels=34)
    check_pose(cfg, LOADERS)


@pytest.mark.parametrize('explicit', [False, True])
def test_tool_says_that_boxes_are_missing_in_a_line(explicit, cfg, root, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'tiny.py').write_text(
        f"_base_ = '{PARENT}'\n"
        'arch = dict(_delete_=True, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2))\n'
        'head = dict(in_channels=32, deconv_out_channels=(8, 8, 8))\n'
        'model = dict(backbone=dict(arch=arch, init_cfg=None), head=head)\n'
        'val_dataloader = dict(num_workers=0, persistent_workers=False)\n'
        'train_dataloader = dict(num_workers=0, persistent_workers=False)\n'
        'train_cfg = dict(max_epochs=1, val_interval=1)\n'
        'default_hooks = dict(checkpoint=dict(interval=1))\n'
    )
    options = [f'data_root={root}', *(['val_dataloader.dataset.bbox_file=mine.json'] if explicit else [])]
    code = run_tool('train', 'tiny.py', '--work-dir', 'run', '--cfg-options', *options)
    error = capsys.readouterr().err
    assert code == int(explicit)
    if explicit:
        assert 'error: mine.json (val_dataloader.dataset.bbox_file) does not exist' in error
        return
    (log,) = (tmp_path / 'run').glob('*/*.log')
    lines = log.read_text().splitlines()
    missing = [line for line in lines if 'cannot be compared with the tables' in line]
    assert len(missing) == 1
    assert f'{root}/{BOXES} does not exist' in missing[0]
    assert any('coco/AP: ' in line for line in lines)
