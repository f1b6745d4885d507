"""Distances to a mesh: an independent formula, shapes computed by hand, and arbitrary meshes."""

import itertools
import math

import numpy as np
import pytest
import torch

from helpers.cases import for_each
from mogapose.expose.evaluation import surface
from mogapose.expose.evaluation.surface import surface_distances, triangle_distances

DOUBLE = dict(dtype=torch.float64)
TRIANGLE = torch.tensor([[0.0, 0, 0], [4, 0, 0], [0, 3, 0]])
ONE = torch.tensor([[0, 1, 2]])


def sphere(rings, segments, radius=1.0):
    """Vertices on a sphere, and the triangles between rings of them; those at the poles have no area."""
    polar, round_ = np.meshgrid(
        np.linspace(0, np.pi, rings + 1), np.arange(segments) / segments * 2 * np.pi, indexing='ij'
    )
    vertices = np.stack((np.sin(polar) * np.cos(round_), np.sin(polar) * np.sin(round_), np.cos(polar)), -1)
    number = np.arange((rings + 1) * segments).reshape(rings + 1, segments)
    a, b = number[:-1], np.roll(number[:-1], -1, 1)
    c, d = number[1:], np.roll(number[1:], -1, 1)
    faces = np.concatenate((np.stack((a, c, b), -1).reshape(-1, 3), np.stack((b, c, d), -1).reshape(-1, 3)))
    return radius * torch.from_numpy(vertices.reshape(-1, 3)), torch.from_numpy(faces)


def least_of_all_pairs(points, vertices, faces):
    """Quadratic programming by enumeration: the nearest point of the span of each subset of a triangle's corners counts
    where its weights are not negative. Every point with every triangle."""
    best = np.full((len(points), len(faces)), np.inf)
    corners = vertices[faces]
    for size in (1, 2, 3):
        for chosen in itertools.combinations(range(3), size):
            first = corners[:, chosen[0]]
            spans = (
                np.stack([corners[:, i] - first for i in chosen[1:]], -1) if size > 1 else np.zeros((len(faces), 3, 1))
            )
            offsets = points[:, None] - first
            weights = np.einsum('fij,pfj->pfi', np.linalg.pinv(spans), offsets)
            valid = (weights >= 0).all(-1) & (weights.sum(-1) <= 1)
            distance = np.linalg.norm(offsets - np.einsum('fij,pfj->pfi', spans, weights), axis=-1)
            best = np.where(valid, np.minimum(best, distance), best)
    return best.min(1)


@for_each(
    [
        ((1, 1, 2), 2),  # above the inside
        ((1, 1, 0), 0),
        ((2, -3, 4), 5),  # beside an edge
        ((-3, 1, 0), 3),
        ((4, 3, 0), 2.4),  # the height of the right angle's mirror image on the longest edge
        ((-2, -3, 6), 7),  # beyond corners
        ((4, -5, 12), 13),
        ((0, 7, 3), 5),
    ]
)
def test_distance_to_a_triangle_by_hand(point, distance):
    found = surface_distances(torch.tensor([point], dtype=torch.float32), TRIANGLE, ONE)
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(distance, rel=1e-15, abs=1e-15)
    # Seen from below, and by either orientation.
    below = torch.tensor([[point[0], point[1], -point[2]]], **DOUBLE)
    assert surface_distances(below, TRIANGLE, ONE.flip(1)).item() == pytest.approx(distance, rel=1e-15, abs=1e-15)


def test_triangles_without_area_are_lines_and_points():
    line = torch.tensor([[0.0, 0, 0], [1, 0, 0], [4, 0, 0]], **DOUBLE)
    points = torch.tensor([[2.0, 3, 0], [7, 0, 4], [0.5, 0, 0]], **DOUBLE)
    assert triangle_distances(points, line.expand(3, 3, 3)).tolist() == [3, 5, 0]
    dot = torch.ones(1, 3, 3, **DOUBLE)
    assert triangle_distances(torch.tensor([[1.0, 4, 5]], **DOUBLE), dot).tolist() == [5]
    # One that is flat but for rounding: its normal is noise.
    sliver = line + torch.tensor([[0.0, 0, 0], [0, 1e-16, 1e-17], [0, 0, 0]], **DOUBLE)
    torch.testing.assert_close(triangle_distances(points, sliver.expand(3, 3, 3)), torch.tensor([3.0, 5, 0], **DOUBLE))


@pytest.mark.parametrize('spread', [0.001, 0.1, 3.0, 100.0])
def test_distances_are_the_least_of_all_pairs(spread, monkeypatch):
    monkeypatch.setattr(surface, 'PAIRS', 10000)  # several chunks
    generator = torch.Generator().manual_seed(3)
    vertices, faces = sphere(9, 12)
    # Triangles of all sizes and any orientation, some huge, through each other.
    extra = torch.randn(30, 3, generator=generator, **DOUBLE) * torch.logspace(-2, 1, 30, **DOUBLE)[:, None]
    vertices, faces = torch.cat((vertices, extra)), torch.cat((faces, torch.arange(30).reshape(10, 3) + len(vertices)))
    near = vertices[torch.randint(len(vertices), (190,), generator=generator)]
    points = torch.cat(
        (near + spread * torch.randn(190, 3, generator=generator, **DOUBLE), torch.zeros(10, 3, **DOUBLE))
    )
    expected = least_of_all_pairs(points.numpy(), vertices.numpy(), faces.numpy())
    found = surface_distances(points, vertices, faces)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12, atol=1e-13)


def test_few_triangles_are_measured(monkeypatch):
    """Bounding spheres rule out most triangles, so that ten thousand points and triangles take seconds."""
    vertices, faces = sphere(70, 70, radius=80.0)  # about FLAME's size, in millimetres
    points = vertices[torch.randperm(len(vertices), generator=torch.Generator().manual_seed(0))[:500]] * 1.01
    measured = []

    def counting(points, corners):
        measured.append(len(points))
        return triangle_distances(points, corners)

    monkeypatch.setattr(surface, 'triangle_distances', counting)
    surface_distances(points, vertices, faces)
    assert len(points) < sum(measured) < 0.01 * len(points) * len(faces)


def test_points_of_the_surface_are_at_zero():
    vertices, faces = sphere(20, 30, radius=80.0)
    weights = torch.rand(len(faces), 3, **DOUBLE)
    weights /= weights.sum(1, keepdim=True)
    points = (weights[..., None] * vertices[faces]).sum(1)
    assert surface_distances(points, vertices, faces).max() < 1e-12


def test_far_from_the_origin_no_digits_are_lost():
    vertices, faces = sphere(10, 10)
    points = 1.5 * vertices
    away = torch.tensor([1e5, -2e5, 3e5], **DOUBLE)
    torch.testing.assert_close(
        surface_distances(points + away, vertices + away, faces),
        surface_distances(points, vertices, faces),
        atol=1e-9,
        rtol=0,
    )


@for_each(
    [
        (torch.zeros(0, 3), ONE, r'points of shape \(0, 3\): expected \(N, 3\) with at least one row'),
        (torch.zeros(2, 2), ONE, r'points of shape \(2, 2\)'),
        (torch.zeros(2, 3), ONE[:0], r'faces of shape \(0, 3\)'),
        (torch.zeros(2, 3), ONE + 1, 'faces hold 1 to 3: expected whole numbers of 3 vertices, from 0'),
        (torch.zeros(2, 3), ONE.float(), 'expected whole numbers'),
        (torch.tensor([[0, 0, math.nan]]), ONE, 'NaN or infinite'),
    ]
)
def test_bad_meshes_are_refused(points, faces, message):
    with pytest.raises(ValueError, match=message):
        surface_distances(points, TRIANGLE, faces)
