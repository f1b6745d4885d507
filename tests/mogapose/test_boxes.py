"""Boxes from COCO's files, lists of detections and detectors; errors name the entry."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.structures import InstanceData

from mogapose import boxes

COCO = dict(
    images=[dict(id=7, file_name='sub/a.jpg'), dict(id=8, file_name='b.jpg')],
    categories=[dict(id=3, name='person'), dict(id=4, name='cat')],
    annotations=[
        dict(image_id=7, category_id=3, bbox=[10, 20, 30, 40]),
        dict(image_id=7, category_id=4, bbox=[1, 2, 3, 4]),
        dict(image_id=7, category_id=3, bbox=[5, 5, 50, 50], iscrowd=1),
        dict(image_id=7, category_id=3, bbox=[0, 0, 5, 6]),
    ],
)
DETECTIONS = [
    dict(image_id=785, category_id=1, bbox=[10, 20, 30, 40], score=0.9),
    dict(image_id=785, category_id=1, bbox=[10, 20, 30, 41], score=0.4),
    dict(image_id=785, category_id=17, bbox=[10, 20, 30, 42], score=0.9),
    dict(file_name='photos/a.jpg', bbox=[1, 2, 3, 4]),
    dict(image_id='night', bbox=[2, 2, 3, 4]),
]


def written(tmp_path, content):
    path = tmp_path / 'boxes.json'
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_annotations_belong_to_images_of_the_same_name(tmp_path):
    find = boxes.from_json(written(tmp_path, COCO))
    assert find(Path('elsewhere/a.jpg')).tolist() == [[10, 20, 40, 60], [0, 0, 5, 6]]
    assert find(Path('b.jpg')).shape == (0, 4)
    assert find(Path('7.jpg')).shape == (0, 4)


def test_annotations_without_categories_are_all_people(tmp_path):
    content = {key: value for key, value in COCO.items() if key != 'categories'}
    assert len(boxes.from_json(written(tmp_path, content))(Path('a.jpg'))) == 3


def test_another_category_is_taken_by_its_name_and_all_where_it_is_not_there(tmp_path):
    path = written(tmp_path, COCO)
    assert boxes.from_json(path, 'cat')(Path('a.jpg')).tolist() == [[1, 2, 4, 6]]
    assert len(boxes.from_json(path, 'hand')(Path('a.jpg'))) == 3


def test_detections_of_other_things_than_people_have_any_number(tmp_path):
    path = written(tmp_path, [dict(entry, category_id=i) for i, entry in enumerate(DETECTIONS)])
    assert boxes.from_json(path, 'hand')(Path('785.jpg')).tolist() == [[10, 20, 40, 60], [10, 20, 40, 62]]
    assert boxes.from_json(path, 'person', min_score=0.1)(Path('785.jpg')).tolist() == [[10, 20, 40, 61]]


@pytest.mark.parametrize(
    ('name', 'expected'),
    [
        ('000000000785.jpg', [[10, 20, 40, 60]]),
        ('x/785.png', [[10, 20, 40, 60]]),
        ('a.jpg', [[1, 2, 4, 6]]),
        ('night.jpg', [[2, 2, 5, 6]]),
        ('other.jpg', []),
    ],
)
def test_detections_belong_to_images_by_name_or_number(tmp_path, name, expected):
    assert boxes.from_json(written(tmp_path, DETECTIONS))(Path(name)).tolist() == expected


def test_detections_of_a_low_score_are_taken_if_wanted(tmp_path):
    find = boxes.from_json(written(tmp_path, DETECTIONS), min_score=0.3)
    assert find(Path('785.jpg')).tolist() == [[10, 20, 40, 60], [10, 20, 40, 61]]


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        ('{', 'boxes.json is no json'),
        (dict(images=[]), 'boxes.json: expected a COCO annotation file'),
        ('3', 'boxes.json: expected a COCO annotation file'),
        (dict(annotations=[]), "images or categories without 'images'"),
        (dict(annotations=[], images=[dict(id=1)]), "without 'file_name'"),
        ([dict(image_id=1)], 'detection 0 lacks bbox or image_id'),
        ([dict(bbox=[1, 2, 3, 4])], 'detection 0 lacks bbox or image_id'),
        ([3], 'detection 0 lacks bbox'),
        (dict(COCO, annotations=[dict(image_id=9, bbox=[1, 2, 3, 4])]), 'annotation 0 is of image_id 9, which is not'),
        ([dict(image_id=1, bbox=[1, 2, 0, 4])], r'detection 0 has bbox \[1, 2, 0, 4\]: expected \[x, y, width, height'),
        ([dict(image_id=1, bbox=[1, 2, 3])], 'detection 0 has bbox'),
        ([dict(image_id=1, bbox='all')], 'detection 0 has bbox all'),
        ('[{"image_id": 1, "bbox": [1, 2, NaN, 4]}]', 'detection 0 has bbox'),
    ],
)
def test_files_of_another_form_are_named(tmp_path, content, words):
    with pytest.raises(ValueError, match=words):
        boxes.from_json(written(tmp_path, content))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'--boxes .*none\.json does not exist'):
        boxes.from_json(tmp_path / 'none.json')


class Detector:
    """A detector that finds a cat, two people, and an empty box at the border."""

    classes = ('cat', 'person')

    def __call__(self, image):
        return InstanceData(
            bboxes=torch.tensor([[0, 0, 9, 9], [1, 2, 30, 40], [3, 4, 50, 60], [64, 0, 64, 9]], dtype=torch.float),
            labels=torch.tensor([0, 1, 1, 1]),
            scores=torch.tensor([0.9, 0.9, 0.3, 0.9]),
        )


def test_a_detector_gives_the_boxes_of_one_class():
    image = Path('a.jpg')
    assert boxes.from_detector(Detector())(image).tolist() == [[1, 2, 30, 40]]
    assert boxes.from_detector(Detector(), 'cat')(image).tolist() == [[0, 0, 9, 9]]
    assert len(boxes.from_detector(Detector(), min_score=0.2)(image)) == 2


def test_a_class_that_a_detector_does_not_know_is_named():
    with pytest.raises(ValueError, match="no class 'dog': choose with --det-class one of cat, person"):
        boxes.from_detector(Detector(), 'dog')


def test_boxes_are_cut_at_the_border():
    assert boxes.inside([[-5, 3, 20, 90]], 64, 48).tolist() == [[0, 3, 20, 48]]
    assert boxes.inside(np.zeros((0, 4)), 64, 48).shape == (0, 4)


@pytest.mark.parametrize('box', [[70, 3, 90, 20], [5, 5, 5, 20], [20, 5, 10, 20], [0, -9, 20, 0]])
def test_boxes_without_a_pixel_of_the_image_are_named(box):
    with pytest.raises(ValueError, match=r'\(x1, y1, x2, y2\) has no pixel of the image, which has 64x48'):
        boxes.inside([box], 64, 48)


@pytest.mark.parametrize('value', [[1, 2, 3, 4], [[1, 2, 3]], [[1, 2, 3, float('nan')]]])
def test_what_is_no_box_is_named(value):
    with pytest.raises(ValueError, match='expected rows of x1, y1, x2, y2'):
        boxes.inside(value, 64, 48)
