"""The pictures show skeletons and boxes at the right places."""

import numpy as np
import pytest
from mmengine.structures import InstanceData

from mogapose import demo, draw

GREY = 100
META = dict(
    skeleton_links=[(0, 1)],
    skeleton_link_colors=np.array([[0, 255, 0]]),
    keypoint_colors=np.array([[255, 0, 0], [0, 0, 255], [255, 0, 0]]),
)


@pytest.fixture
def image():
    return np.full((40, 64, 3), GREY, np.uint8)


def instances(keypoints, visible, **extra):
    keypoints = np.array(keypoints, float).reshape(-1, 3, 2)
    return InstanceData(keypoints=keypoints, keypoints_visible=np.array(visible, float).reshape(-1, 3), **extra)


def coloured(picture, channel):
    """Rows and columns, smallest and largest, where a channel stands out, as shares of the picture's sides."""
    others = [i for i in range(3) if i != channel]
    rows, columns = np.nonzero((picture[..., channel] > 180) & (picture[..., others] < 90).all(-1))
    height, width = picture.shape[:2]
    return rows.min() / height, rows.max() / height, columns.min() / width, columns.max() / width


def test_keypoints_and_links_are_where_they_belong_on_the_enlarged_image(image):
    found = instances([[15.5, 9.5], [47.5, 9.5], [31.5, 29.5]], [1, 1, 0])
    picture = draw.draw_skeletons(image, found, META)
    assert picture.shape == (400, 640, 3)
    assert coloured(picture, 0) == pytest.approx((0.25, 0.25, 0.25, 0.25), abs=0.02)
    assert coloured(picture, 2) == pytest.approx((0.25, 0.25, 0.75, 0.75), abs=0.02)
    assert coloured(picture, 1) == pytest.approx((0.25, 0.25, 0.25, 0.75), abs=0.02)
    assert (picture[200:] == GREY).all()  # the third has no score


def test_keypoints_of_a_low_score_are_left_out_with_their_links(image):
    found = instances([[16, 10], [48, 10], [32, 30]], [0.2, 0.9, 0.9])
    picture = draw.draw_skeletons(image, found, META)
    assert (picture[:150, :460] == GREY).all()
    assert not (picture[:150, 460:] == GREY).all()
    assert not (draw.draw_skeletons(image, found, META, min_score=0.1)[:150, :460] == GREY).all()


def test_boxes_are_drawn_if_wanted(image):
    found = instances([[16, 10], [48, 10], [32, 30]], [0, 0, 0], bboxes=np.array([[8.0, 4.0, 56.0, 36.0]]))
    assert (draw.draw_skeletons(image, found, META, boxes=False) == GREY).all()
    changed = (draw.draw_skeletons(image, found, META) != GREY).any(-1)
    rows, columns = np.nonzero(changed)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == pytest.approx((40, 360, 80, 560), abs=3)


def test_nobody_leaves_the_image_as_it_is(image):
    found = instances([], [], bboxes=np.zeros((0, 4)))
    assert (draw.draw_skeletons(image, found, META) == GREY).all()


def test_the_table_of_the_demo_is_in_percent():
    keys = ('AP', 'AP .5', 'AP .75', 'AP (M)', 'AP (L)', 'AR', 'PCK')
    metrics = {f'coco/{key}': i / 10 for i, key in enumerate(keys)} | {'coco/AP (L)': -1.0}
    title, values = demo.table(metrics).splitlines()
    assert title.split() == ['AP', 'AP50', 'AP75', 'medium', 'large', 'AR', 'PCK@0.05']
    assert values.split() == ['0.0', '10.0', '20.0', '30.0', '-', '50.0', '60.0']
