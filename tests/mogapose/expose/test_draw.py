"""The pictures show joints and mesh at the right places."""

import numpy as np
import pytest

from helpers.expose_meshes import HALVES, ball
from mogapose.expose import draw
from mogapose.expose.draw import PANEL, draw_body, project

GREY = 90
CAMERA = np.array([8.0, 0.0, 0.0])


@pytest.fixture
def crop():
    return np.full((64, 64, 3), GREY, np.uint8)


def panels(crop, vertices, faces, joints=None, camera=CAMERA, convention='mano'):
    joints = np.full((21, 3), 9.0) if joints is None else joints
    picture = draw_body(crop, vertices, joints, camera, faces, convention)
    assert picture.shape == (PANEL, 4 * PANEL, 3)
    assert picture.dtype == np.uint8
    return np.split(picture, 4, 1)


def extent(changed):
    """Left, right, top and bottom of the changed pixels, as shares of the panel."""
    rows, columns = np.nonzero(changed)
    return np.array([columns.min(), columns.max() + 1, rows.min(), rows.max() + 1]) / PANEL


def test_projection_is_that_of_the_crop():
    """u = s (x + t) in [-1, 1], from the centre of the first pixel to that of the last."""
    points = np.array([[0, 0, 3], [0.1, -0.05, 7], [-0.15, 0.05, 0]])
    found = project(points, np.array([10, 0.05, -0.05]), 101)
    np.testing.assert_allclose(found, [[75, 25], [125, 0], [0, 50]], atol=1e-9)


def test_the_first_panel_is_the_crop_alone(crop):
    crop[:, :32] = 200
    first, *_ = panels(crop, *ball(0.05))
    assert (first[:, : PANEL // 2 - 8] == 200).all()
    assert (first[:, PANEL // 2 + 8 :] == GREY).all()


def test_joints_are_in_the_second_panel_and_joined_by_fingers(crop):
    joints = np.full((21, 3), 0.0)
    joints[1:5, 0] = np.array([0.02, 0.04, 0.06, 0.08])  # the thumb to the right
    joints[5:9, 1] = np.array([0.02, 0.04, 0.06, 0.08])  # the index downwards
    _, second, third, _ = panels(crop, ball(0.01)[0] + (9, 9, 0), ball(0.01)[1], joints)
    changed = (second != GREY).any(-1)
    # 8 * 0.08 = 0.64 of half a panel, from the middle on.
    np.testing.assert_allclose(extent(changed), [0.5, 0.82, 0.5, 0.82], atol=0.02)
    assert changed[PANEL // 2, PANEL // 2 : int(0.81 * PANEL)].all()
    assert not changed[int(0.7 * PANEL), int(0.7 * PANEL)]
    thumb, index = second[PANEL // 2, int(0.7 * PANEL)], second[int(0.7 * PANEL), PANEL // 2]
    assert np.abs(thumb.astype(int) - draw.LINES[0]).max() < 3
    assert np.abs(index.astype(int) - draw.LINES[1]).max() < 3
    assert (third == GREY).all()


def test_faces_are_drawn_by_their_landmarks(crop):
    joints = np.full((73, 3), 9.0)
    joints[5:10] = np.stack((np.linspace(-0.05, -0.03, 5), np.full(5, -0.05), np.zeros(5)), 1)  # a brow
    _, second, _, _ = panels(crop, ball(0.01)[0] + (9, 9, 0), ball(0.01)[1], joints, convention='flame')
    np.testing.assert_allclose(extent((second != GREY).any(-1)), [0.3, 0.38, 0.3, 0.3], atol=0.02)


@pytest.mark.parametrize(('convention', 'first', 'count'), [('mano', 0, 21), ('flame', 5, 73), ('smplx', 76, 144)])
def test_lines_join_joints_that_there_are(convention, first, count):
    chains = draw.chains(convention)
    # For faces the 68 landmarks and contour points are drawn, and none of the joints before them.
    assert {joint for chain in chains for joint in chain} == set(range(first, count))


def test_the_mesh_lies_over_the_crop_where_it_is_projected(crop):
    vertices, faces = ball(0.05)
    _, _, third, _ = panels(crop, vertices + np.array((0.02, 0, 0)), faces)
    # 8 * 0.05 = 0.4 of half a panel around 8 * 0.02 = 0.16.
    np.testing.assert_allclose(extent((third != GREY).any(-1)), [0.38, 0.78, 0.3, 0.7], atol=0.01)
    middle = third[PANEL // 2, int(0.58 * PANEL)].astype(float)
    assert (middle < draw.COLOUR).all()
    assert middle[2] > middle[0] + 30


def test_the_nearer_surface_is_drawn(crop):
    square = np.array([[-0.05, -0.05, 0], [0.05, -0.05, 0], [0.05, 0.05, 0], [-0.05, 0.05, 0]])
    bright = square + np.array((0, 0, 0.5))
    tilted = square @ np.array([[1, 0, 0], [0, 0.5, 0.9], [0, -0.9, 0.5]]).T
    alone = panels(crop, bright, HALVES)[2][PANEL // 2, PANEL // 2]
    both = panels(crop, np.concatenate((bright, tilted)), np.concatenate((HALVES, HALVES + 4)))[2]
    assert (both[PANEL // 2, PANEL // 2] != alone).any()
    behind = panels(crop, np.concatenate((bright, tilted + np.array((0, 0, 1)))), np.concatenate((HALVES, HALVES + 4)))[
        2
    ]
    assert (behind[PANEL // 2, PANEL // 2] == alone).all()


def test_the_last_panel_shows_the_mesh_from_the_side(crop):
    """A thin plate seen from the front is a narrow one from the side, a deep one a wide one."""
    vertices, faces = ball(0.04)
    for shape, width in (((1, 1, 0.02), 0.32 * np.cos(np.deg2rad(75))), ((0.02, 1, 1), 0.32 * np.sin(np.deg2rad(75)))):
        *_, last = panels(crop, vertices * shape + (0.05, 0, 0), faces)
        left, right, top, bottom = extent((last != 255).any(-1))
        assert right - left == pytest.approx(width, abs=0.02)
        assert bottom - top == pytest.approx(0.32, abs=0.01)
        assert left + right == pytest.approx(1, abs=0.01)


def test_the_side_view_fits_into_its_panel(crop):
    """A mesh that is deeper than the crop is wide is drawn smaller."""
    vertices, faces = ball(0.04)
    *_, last = panels(crop, vertices * (1, 1, 8), faces)
    left, right, *_ = extent((last != 255).any(-1))
    assert left > 0.01
    assert right < 0.99
    assert right - left > 0.9
