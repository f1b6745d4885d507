"""The renderer: pixels, depth and light against formulas."""

from itertools import product

import numpy as np
import pytest

from helpers.cases import for_each
from helpers.expose_meshes import HALVES, SQUARE, ball
from mogapose.expose.mini import render as rendering
from mogapose.expose.mini.render import composite, perspective, rasterise, render, vertex_normals


def test_a_square_covers_the_pixel_centres_in_it():
    raster = rasterise(SQUARE, HALVES, (10, 10))
    expected = np.zeros((10, 10), bool)
    expected[3:8, 2:9] = True
    np.testing.assert_array_equal(raster.triangle >= 0, expected)
    np.testing.assert_array_equal(np.abs(raster.depth - 1) < 1e-9, expected)
    assert np.isinf(raster.depth[~expected]).all()
    assert not raster.weights[~expected].any()
    # Above the diagonal it is the first triangle, below it the second.
    assert raster.triangle[4, 7] == 0
    assert raster.triangle[6, 3] == 1


def test_weights_take_the_corners_to_the_pixel():
    points = np.array([[0.3, 0.2, 2], [9.1, 1.7, 5], [3.4, 8.8, 1]])
    raster = rasterise(points, np.array([[0, 1, 2]]), (10, 10))
    rows, columns = np.nonzero(raster.triangle == 0)
    assert len(rows) > 20
    found = raster.weights[rows, columns] @ points
    np.testing.assert_allclose(found[:, :2], np.stack((columns, rows), 1), atol=1e-12)
    np.testing.assert_allclose(found[:, 2], raster.depth[rows, columns])
    np.testing.assert_allclose(raster.weights[rows, columns].sum(1), 1)


@pytest.mark.parametrize('order', [[0, 1], [1, 0]])
def test_the_nearer_one_is_seen_whatever_the_order(order):
    far = SQUARE + np.array((0, 0, 1))
    near = SQUARE * (0.5, 1, 1)
    points = np.concatenate((far, near))
    faces = [HALVES, HALVES + 4]
    raster = rasterise(points, np.concatenate([faces[i] for i in order]), (10, 10))
    np.testing.assert_allclose(raster.depth[3:8, 1:9], [[1, 1, 1, 1, 2, 2, 2, 2]] * 5)


def test_triangles_that_cut_through_each_other_are_each_seen_in_front():
    """Two squares of opposite slope: one is nearer on the left, the other on the right."""
    up, down = SQUARE.copy(), SQUARE.copy()
    up[:, 2], down[:, 2] = up[:, 0], 10 - down[:, 0]
    raster = rasterise(np.concatenate((up, down)), np.concatenate((HALVES, HALVES + 4)), (10, 10))
    assert np.isin(raster.triangle[3:8, 2:5], (0, 1)).all()
    assert np.isin(raster.triangle[3:8, 6:9], (2, 3)).all()
    np.testing.assert_allclose(raster.depth[5, 2:9], [2, 3, 4, 5, 4, 3, 2])


def test_what_lies_outside_or_has_no_area_is_not_drawn():
    line = np.array([[1, 1, 1], [5, 5, 1], [3, 3, 1]], float)
    assert (rasterise(line, np.array([[0, 1, 2]]), (10, 10)).triangle == -1).all()
    for move in ((20, 0, 0), (-20, 0, 0), (0, 20, 0), (0, -20, 0)):
        assert (rasterise(SQUARE + move, HALVES, (10, 10)).triangle == -1).all()
    cut = rasterise(SQUARE + np.array((-4, 0, 0)), HALVES, (10, 10)).triangle >= 0
    assert cut[3:8, :5].all()
    assert cut.sum() == 25


def test_a_ball_is_as_large_as_its_formula_says():
    vertices, faces = ball(30.0)
    raster = rasterise(vertices + np.array((49.5, 49.5, 100)), faces, (100, 100))
    seen = raster.triangle >= 0
    assert seen.sum() == pytest.approx(np.pi * 30**2, rel=0.01)
    y, x = np.mgrid[:100, :100] - 49.5
    front = 100 - np.sqrt((900 - x**2 - y**2).clip(0))
    inner = x**2 + y**2 < 25**2
    np.testing.assert_allclose(raster.depth[inner], front[inner], atol=0.3)


def test_perspective_is_a_pinhole():
    points = perspective(np.array([[0.1, -0.2, 0.5], [0, 0, 2]]), 100, (50, 40))
    np.testing.assert_allclose(points, [[70, 0, 0.5], [50, 40, 2]])
    with pytest.raises(ValueError, match='nearest point has z = -1 m'):
        perspective(np.array([[0, 0, -1.0]]), 100, (50, 40))


def test_normals_of_a_ball_point_outwards():
    vertices, faces = ball(2.0)
    normals = vertex_normals(vertices, faces)
    between = np.abs(vertices[:, 2]) < 1.9  # at the poles vertices coincide
    np.testing.assert_allclose(normals[between], vertices[between] / 2, atol=0.01)


@for_each(product([0, 30, 60, 90, 120], [1, -1]))
def test_light_falls_by_lamberts_law_on_both_sides(angle, side):
    lamp = 7 * np.array([np.sin(np.deg2rad(angle)), 0, -np.cos(np.deg2rad(angle))])
    colours, opacity = render(SQUARE, SQUARE, HALVES[:, ::side], np.array([100, 200, 50]), lamp, (10, 10))
    shade = rendering.AMBIENT + (1 - rendering.AMBIENT) * max(0, np.cos(np.deg2rad(angle)))
    np.testing.assert_allclose(colours[5, 5], shade * np.array([100, 200, 50]), rtol=1e-5)
    assert opacity[5, 5] == 1
    assert opacity[0, 0] == 0
    assert not colours[0, 0].any()


def test_colours_go_over_from_vertex_to_vertex():
    shades = np.array([[0, 0, 0], [240, 0, 0], [240, 0, 0], [0, 0, 0]])
    colours, _ = render(SQUARE, SQUARE, HALVES, shades, np.array([0, 0, -1]), (10, 10))
    np.testing.assert_allclose(colours[5, 3:8, 0], [40, 80, 120, 160, 200], atol=1e-3)


@pytest.mark.parametrize(('oversampling', 'share'), [(1, 1), (2, 0.5), (4, 0.5)])
def test_edges_are_as_opaque_as_they_are_covered(oversampling, share):
    """The left edge runs through the middle of the pixels of column 2, which end at 2.5."""
    moved = SQUARE - (0.001, 0, 0)
    colours, opacity = render(
        moved, moved, HALVES, np.array([200, 200, 200]), np.array([0, 0, -1]), (10, 10), oversampling
    )
    assert opacity[5, 2] == share
    assert opacity[5, 1] == 0
    assert opacity[5, 3] == 1
    np.testing.assert_allclose(colours[5, 2], 200 * share)


def test_composite_mixes_by_opacity_and_strength():
    background = np.full((1, 3, 3), 100, np.uint8)
    opacity = np.array([[0, 0.5, 1]], np.float32)
    colours = opacity[..., None] * np.float32((200, 0, 255))
    assert composite(background, colours, opacity)[0].tolist() == [[100, 100, 100], [150, 50, 178], [200, 0, 255]]
    assert composite(background, colours, opacity, 0.5)[0].tolist() == [[100] * 3, [125, 75, 139], [150, 50, 178]]
