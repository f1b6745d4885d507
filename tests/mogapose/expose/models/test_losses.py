"""ExPose's losses on numbers computed by hand."""

import math

import pytest
import torch

from helpers.cases import for_each
from mogapose.expose.models.losses import L1Loss, MSELoss, RotationDistance, ShapeThresholdPriorLoss
from mogapose.expose.models.rotation import axis_angle_to_matrix
from mogapose.expose.registry import MODELS

PRED = torch.tensor([[1.0, 2], [3, 4]])
TARGET = torch.tensor([[0.0, 4], [3, 1]])  # differences 1, 2, 0, 3


@for_each(
    [
        (L1Loss, {}, {}, 6.0),
        (MSELoss, {}, {}, 14.0),
        (L1Loss, dict(loss_weight=0.5), {}, 3.0),
        (MSELoss, dict(loss_weight=0.001), {}, 0.014),
        (L1Loss, dict(reduction='mean'), {}, 1.5),
        (MSELoss, dict(reduction='mean'), dict(avg_factor=2), 7.0),
        (L1Loss, {}, dict(reduction_override='mean', avg_factor=3), 2.0),
        (L1Loss, {}, dict(weight=torch.tensor([[1.0, 0.5], [7, 0]])), 2.0),
        (MSELoss, {}, dict(weight=torch.tensor([[1.0], [2]])), 23.0),
    ]
)
def test_elementwise_loss_sums_what_it_is_told_to(loss, options, call, expected):
    assert loss(**options)(PRED, TARGET, **call).item() == pytest.approx(expected)


def test_elementwise_loss_without_reduction_keeps_the_shape():
    assert L1Loss(reduction='none', loss_weight=2)(PRED, TARGET).tolist() == [[2, 4], [0, 6]]


def test_elementwise_loss_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match=r'\(2, 2\) and target \(1, 2\) differ'):
        L1Loss()(PRED, TARGET[:1])
    with pytest.raises(ValueError, match='avg_factor divides a mean'):
        L1Loss()(PRED, TARGET, avg_factor=2)
    with pytest.raises(ValueError, match="reduction='max': expected one of none, mean, sum"):
        MSELoss(reduction='max')


def turns(*angles):
    """(B, N, 3, 3) rotations by these angles about changing axes."""
    axes = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]]).repeat(2, 1)
    angles = torch.tensor(angles)
    axes = axes[: angles.shape[1]].expand(len(angles), -1, -1)
    return axis_angle_to_matrix(axes * angles[..., None])


ANGLES = ((0.5, 1.0, 2.0), (0.25, 3.0, 1.5))  # sums 3.5 and 4.75
STILL = torch.eye(3).expand(2, 3, 3, 3)


@pytest.mark.parametrize('reduction', ['sum', 'mean', 'none'])
def test_rotation_distance_is_the_sum_over_joints_over_samples_whatever_the_reduction(reduction):
    loss = RotationDistance(reduction=reduction)(turns(*ANGLES), STILL)
    assert loss.item() == pytest.approx(8.25 / 2, abs=1e-5)


def test_rotation_distance_is_of_the_turn_between_the_two():
    both = turns((0.7, 0.2, -1.0), (0.1, 0.4, 2.0))
    moved = both @ turns(*ANGLES)
    assert RotationDistance(loss_weight=3.0)(moved, both).item() == pytest.approx(3 * 8.25 / 2, abs=1e-4)


def test_weighted_rotation_distance_divides_by_the_weights_above_zero():
    weight = torch.tensor([[1.0, 0.5, 0], [0, 2, 0]])  # 0.5 + 0.5 + 6 over 3
    assert RotationDistance()(turns(*ANGLES), STILL, weight).item() == pytest.approx(7 / 3, abs=1e-5)


def test_weight_scales_the_value_and_is_broadcast_over_joints():
    loss, pred = RotationDistance(), turns(*ANGLES)
    assert loss(pred, STILL, torch.tensor([[1.0], [1.0]])).item() == pytest.approx(8.25 / 6, abs=1e-5)
    assert loss(pred, STILL, torch.tensor([[0.5], [0.5]])).item() == pytest.approx(8.25 / 12, abs=1e-5)
    assert loss(pred, STILL, torch.tensor([[0.0], [0.5]])).item() == pytest.approx(4.75 / 6, abs=1e-5)
    assert loss(pred, STILL, torch.zeros(2, 1)).item() == 0


def test_equal_rotations_have_float32_s_floor_and_no_gradient():
    pred = torch.eye(3).expand(1, 1, 3, 3).clone().requires_grad_()
    loss = RotationDistance()(pred, torch.eye(3).expand(1, 1, 3, 3))
    loss.backward()
    assert loss.item() == pytest.approx(4.88e-4, abs=1e-6)
    assert pred.grad.count_nonzero() == 0
    wide = RotationDistance(eps=0.5)(pred.detach(), torch.eye(3).expand(1, 1, 3, 3))
    assert wide.item() == pytest.approx(math.acos(0.5))


def test_opposite_rotations_are_pi_apart():
    half = torch.diag(torch.tensor([1.0, -1, -1])).expand(1, 1, 3, 3)
    assert RotationDistance()(half, torch.eye(3).expand(1, 1, 3, 3)).item() == pytest.approx(math.pi, abs=1e-3)


def test_rotation_distance_is_float32_under_autocast():
    expected = RotationDistance()(turns(*ANGLES), STILL)
    with torch.autocast('cpu', torch.bfloat16):
        found = RotationDistance()(turns(*ANGLES), STILL)
        half = RotationDistance()(turns(*ANGLES).bfloat16(), STILL.bfloat16())
    assert found.dtype == half.dtype == torch.float32
    assert found.item() == pytest.approx(expected.item())
    assert half.item() == pytest.approx(expected.item(), abs=0.1)


def test_rotation_distance_refuses_other_numbers_of_joints():
    with pytest.raises(ValueError, match=r'\(2, 3, 3, 3\) and target \(2, 1, 3, 3\) differ'):
        RotationDistance()(turns(*ANGLES), STILL[:, :1])


def test_prior_is_the_mean_of_whole_squares_over_those_outside():
    betas = torch.tensor([[4.0, -5, 1]])
    assert ShapeThresholdPriorLoss()(betas).item() == pytest.approx(20.5)
    assert ShapeThresholdPriorLoss(norm='l1')(betas).item() == pytest.approx(4.5)
    assert ShapeThresholdPriorLoss(margin=4.5, loss_weight=2.0)(betas).item() == pytest.approx(50)
    batch = torch.tensor([[4.0, 0], [0, 2], [-6, 3]])  # 3 is on the margin, not outside
    assert ShapeThresholdPriorLoss()(batch).item() == pytest.approx(26)


def test_prior_within_the_margin_is_zero_with_a_gradient_of_zero():
    betas = torch.full((2, 10), 2.9, requires_grad=True)
    loss = ShapeThresholdPriorLoss()(betas)
    loss.backward()
    assert loss.item() == 0
    assert betas.grad.abs().max() == 0
    with pytest.raises(ValueError, match="norm='max': expected 'l1' or 'l2'"):
        ShapeThresholdPriorLoss(norm='max')


def test_mmhuman3d_s_name_of_the_prior_is_known():
    loss = MODELS.build(dict(type='ThresholdPrior', margin=2.0))
    assert isinstance(loss, ShapeThresholdPriorLoss)
    assert loss.margin == 2.0


@pytest.mark.parametrize(
    ('loss', 'shape'), [(L1Loss(), (0, 21, 2)), (MSELoss(), (0, 50)), (RotationDistance(), (0, 15, 3, 3))]
)
def test_loss_of_no_samples_is_zero_and_backpropagates(loss, shape):
    pred = torch.rand(4, *shape[1:], requires_grad=True)
    rows = torch.zeros(0, dtype=torch.long)
    for weight in (None, torch.rand(0, *[1] * (len(shape) - 1 - 2 * isinstance(loss, RotationDistance)))):
        value = loss(pred[rows], torch.zeros(shape), weight)
        value.backward()
        assert value.item() == 0
        assert pred.grad.count_nonzero() == 0
