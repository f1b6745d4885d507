"""Rotations against literals and properties, the camera, similarity alignment."""

import math

import pytest
import torch

from helpers.cases import for_each
from mogapose.expose.models.rotation import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_rot6d,
    rot6d_to_matrix,
    similarity_align,
    weak_perspective,
)

DOUBLE = dict(dtype=torch.float64)


def random_rotations(count):
    return axis_angle_to_matrix(torch.randn(count, 3, **DOUBLE))


def test_six_numbers_are_two_columns_row_by_row():
    quarter_about_z = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert matrix_to_rot6d(quarter_about_z).tolist() == [0, -1, 1, 0, 0, 0]
    torch.testing.assert_close(rot6d_to_matrix(torch.tensor([0.0, -1, 1, 0, 0, 0])), quarter_about_z)
    torch.testing.assert_close(rot6d_to_matrix(torch.tensor([1.0, 0, 0, 1, 0, 0])), torch.eye(3))
    half_about_x = torch.diag(torch.tensor([1.0, -1, -1]))
    torch.testing.assert_close(rot6d_to_matrix(torch.tensor([1.0, 0, 0, -1, 0, 0])), half_about_x)


def test_six_numbers_are_made_orthonormal():
    # a1 = (2, 0, 0), a2 = (3, 4, 0): b1 = x, b2 = y.
    torch.testing.assert_close(rot6d_to_matrix(torch.tensor([2.0, 3, 0, 4, 0, 0])), torch.eye(3))
    matrices = rot6d_to_matrix(torch.randn(4, 5, 6, **DOUBLE))
    torch.testing.assert_close(matrices @ matrices.mT, torch.eye(3, **DOUBLE).expand(4, 5, 3, 3))
    torch.testing.assert_close(torch.linalg.det(matrices), torch.ones(4, 5, **DOUBLE))


def test_six_numbers_round_trip():
    rotations = random_rotations(50)
    torch.testing.assert_close(rot6d_to_matrix(matrix_to_rot6d(rotations)), rotations)


def test_axis_angle_turns_by_the_right_hand():
    turn = axis_angle_to_matrix(torch.tensor([0, 0, math.pi / 2]))
    torch.testing.assert_close(turn @ torch.tensor([1.0, 0, 0]), torch.tensor([0.0, 1, 0]))


def test_axis_angle_is_the_matrix_exponential():
    vectors = torch.randn(20, 3, **DOUBLE) * 2
    x, y, z = vectors.T
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).reshape(-1, 3, 3)
    torch.testing.assert_close(axis_angle_to_matrix(vectors), torch.matrix_exp(cross))


@for_each([0.0, 1e-9, 1e-6, 1e-3, 1.0, 3.0, math.pi - 1e-4, math.pi - 1e-9])
def test_axis_angle_comes_back(angle):
    axis = torch.nn.functional.normalize(torch.randn(30, 3, **DOUBLE), dim=-1)
    vectors = angle * axis
    torch.testing.assert_close(matrix_to_axis_angle(axis_angle_to_matrix(vectors)), vectors, atol=1e-8, rtol=0)


def test_half_turns_come_back_up_to_sign():
    for axis in torch.eye(3, **DOUBLE):
        vector = matrix_to_axis_angle(axis_angle_to_matrix(math.pi * axis))
        torch.testing.assert_close(vector.abs(), math.pi * axis, atol=1e-7, rtol=0)


def test_gradients_are_right_also_at_zero():
    zero = torch.zeros(2, 3, **DOUBLE, requires_grad=True)
    some = torch.randn(2, 3, **DOUBLE, requires_grad=True)
    six = torch.randn(2, 6, **DOUBLE, requires_grad=True)
    for function, value in ((axis_angle_to_matrix, zero), (axis_angle_to_matrix, some), (rot6d_to_matrix, six)):
        assert torch.autograd.gradcheck(function, value)


def test_weak_perspective_moves_then_scales():
    points = torch.tensor([[[0.1, 0.2, 9.0], [0, 0, 0]]])
    camera = torch.tensor([[2.0, 0.3, -0.1]])
    torch.testing.assert_close(weak_perspective(points, camera), torch.tensor([[[0.8, 0.2], [0.6, -0.2]]]))


def test_alignment_undoes_a_similarity():
    target = torch.randn(6, 21, 3, **DOUBLE)
    rotation, scale = random_rotations(6), torch.rand(6, 1, 1, **DOUBLE) + 0.5
    source = scale * target @ rotation.mT + torch.randn(6, 1, 3, **DOUBLE)
    torch.testing.assert_close(similarity_align(source, target), target)


def test_alignment_leaves_what_no_similarity_explains():
    """A square and a rhombus: the best scale is a quotient of scalar products, computed by hand."""
    square = torch.tensor([[1.0, 0, 0], [0, 1, 0], [-1, 0, 0], [0, -1, 0]])
    rhombus = square * torch.tensor([2.0, 1, 1])
    # Without rotation: s = (2 + 1 + 2 + 1) / 4.
    torch.testing.assert_close(similarity_align(square, rhombus + 5), 1.5 * square + 5)


def test_alignment_does_not_mirror():
    hand = torch.randn(21, 3)
    mirrored = hand * torch.tensor([-1.0, 1, 1])
    assert (similarity_align(mirrored, hand) - hand).norm(dim=-1).mean() > 0.3


def test_alignment_is_no_worse_than_nearby_similarities():
    source, target = torch.randn(21, 3, **DOUBLE), torch.randn(21, 3, **DOUBLE)
    aligned = similarity_align(source, target)
    best, middle = (aligned - target).square().sum(), aligned.mean(0)
    for _ in range(50):
        turn = axis_angle_to_matrix(0.05 * torch.randn(3, **DOUBLE))
        other = (1 + 0.05 * torch.randn(1, **DOUBLE)) * (aligned - middle) @ turn.T + middle
        assert (other + 0.05 * torch.randn(3, **DOUBLE) - target).square().sum() >= best


def test_alignment_of_one_point_many_times_lands_on_the_mean():
    target = torch.randn(21, 3)
    aligned = similarity_align(torch.ones(21, 3), target)
    torch.testing.assert_close(aligned, target.mean(0).expand(21, 3))


def test_alignment_says_what_is_not_a_number():
    with pytest.raises(ValueError, match='NaN or infinite'):
        similarity_align(torch.full((21, 3), torch.nan), torch.ones(21, 3))
