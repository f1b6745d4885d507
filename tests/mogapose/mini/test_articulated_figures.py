"""Figures have human proportions and poses, and their joints agree with their pictures."""

import numpy as np
import pytest
from numpy.random import RandomState

from helpers.cases import for_each
from mogapose.mini import articulated_figures

SEEDS = range(40)
# Joints by COCO's indices.
SHOULDERS, ELBOWS, WRISTS, HIPS, KNEES, ANKLES = ([i, i + 1] for i in range(5, 17, 2))


def lengths(joints, first, last):
    return np.linalg.norm(joints[last] - joints[first], axis=1)


def bends(joints, first, middle, last):
    """Angle in degrees between the two bones of each limb."""
    upper, lower = joints[middle] - joints[first], joints[last] - joints[middle]
    cosines = (upper * lower).sum(1) / np.linalg.norm(upper, axis=1) / np.linalg.norm(lower, axis=1)
    return np.degrees(np.arccos(cosines.clip(-1, 1)))


def test_joints_are_cocos_17_in_its_order():
    names = [
        'nose',
        'eye',
        'eye',
        'ear',
        'ear',
        'shoulder',
        'shoulder',
        'elbow',
        'elbow',
        'wrist',
        'wrist',
        'hip',
        'hip',
        'knee',
        'knee',
        'ankle',
        'ankle',
    ]
    sides = ['', *('left_', 'right_') * 8]
    assert list(articulated_figures.JOINTS) == [side + name for side, name in zip(sides, names, strict=True)]


@pytest.mark.parametrize('axis', range(3))
def test_rotations_keep_lengths_and_sides(axis):
    matrix = articulated_figures.rotation(axis, 33)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)
    assert np.trace(matrix) == pytest.approx(1 + 2 * np.cos(np.radians(33)))


def test_a_turn_of_90_degrees_lets_the_figure_look_to_the_right():
    np.testing.assert_allclose(articulated_figures.rotation(1, 90) @ (0, 0, 1), (1, 0, 0), atol=1e-12)


def test_bones_are_of_human_length_and_alike_on_both_sides():
    shares = dict(
        arm=(SHOULDERS, ELBOWS, 0.13, 0.2),
        forearm=(ELBOWS, WRISTS, 0.12, 0.18),
        thigh=(HIPS, KNEES, 0.2, 0.28),
        shin=(KNEES, ANKLES, 0.19, 0.27),
    )
    found = {name: [] for name in shares}
    for seed in SEEDS:
        joints, _ = articulated_figures.pose(RandomState(seed))
        for name, (first, last, lowest, highest) in shares.items():
            left, right = lengths(joints, first, last)
            assert left == pytest.approx(right)
            assert lowest < left < highest
            found[name].append(left)
    assert all(max(values) > 1.1 * min(values) for values in found.values())  # people differ


def test_elbows_and_knees_bend_within_human_limits():
    knees, elbows = [], []
    for seed in SEEDS:
        joints, _ = articulated_figures.pose(RandomState(seed))
        knees += [*bends(joints, HIPS, KNEES, ANKLES)]
        elbows += [*bends(joints, SHOULDERS, ELBOWS, WRISTS)]
        thighs, shins = joints[KNEES] - joints[HIPS], joints[ANKLES] - joints[KNEES]
        for thigh, shin in zip(thighs, shins, strict=True):
            # Seen from the body's side, with y down and z forwards, a heel goes behind its knee, never before it.
            assert thigh[1] * shin[2] - thigh[2] * shin[1] <= 0.02 * np.linalg.norm(thigh) * np.linalg.norm(shin)
    assert max(knees) < 111
    assert max(elbows) < 111
    assert np.ptp(knees) > 60
    assert np.ptp(elbows) > 60


@pytest.fixture
def seen(monkeypatch):
    """Figures seen from the front (0 degrees) or from another side."""

    def draw(degrees, seed):
        monkeypatch.setattr(articulated_figures, 'view', lambda random: articulated_figures.rotation(1, degrees))
        return articulated_figures.draw_figure(150, RandomState(seed))

    return draw


@pytest.mark.parametrize('seed', range(6))
def test_front_and_back_differ(seen, seed):
    front, back = seen(0, seed), seen(180, seed)
    for pair in (SHOULDERS, HIPS):
        left, right = front.joints[pair]
        assert left[0] > right[0]  # the left of those who look at us is at our right
        left, right = back.joints[pair]
        assert left[0] < right[0]
    assert back.hidden[:3].all()
    assert not front.hidden[0]
    x, y = front.joints[1].round().astype(int)
    assert front.image[y, x].max() < 110  # a pupil


@for_each(range(20))
def test_every_joint_lies_on_the_figure(seed):
    figure = articulated_figures.draw_figure(160, RandomState(seed))
    height, width = figure.opacity.shape
    assert figure.image.shape == (height, width, 3)
    columns, rows = figure.joints.round().astype(int).T
    assert (figure.opacity[rows, columns] > 0.5).all()
    assert figure.opacity[[0, -1]].max() == 0
    assert figure.opacity[:, [0, -1]].max() == 0
    inside = figure.image[figure.opacity > 0.99]
    assert inside.min() >= 0
    assert inside.max() <= 255
    assert inside.std() > 10


def test_a_figure_is_as_tall_as_is_asked():
    for height in (60, 180):
        figure = articulated_figures.draw_figure(height, RandomState(2))
        shoulders, ankles = figure.joints[SHOULDERS].mean(0), figure.joints[ANKLES].mean(0)
        assert 0.5 < np.linalg.norm(ankles - shoulders) / height < 0.95


def test_a_hand_before_the_hip_hides_it():
    joints, frames = articulated_figures.pose(RandomState(0))
    joints[ELBOWS[0]] = joints[HIPS[0]] + (0.1, -0.1, 0.2)
    joints[WRISTS[0]] = joints[HIPS[0]] + (0, 0, 0.2)
    results = []
    for turn in (np.eye(3), articulated_figures.rotation(1, 180)):
        parts = articulated_figures.body(joints, frames, RandomState(0))
        parts = [part._replace(start=turn @ part.start, end=turn @ part.end) for part in parts]
        figure = articulated_figures.render(parts, joints @ turn.T, turn, 150, RandomState(0))
        results.append(figure.hidden[[HIPS[0], WRISTS[0]]].tolist())
    assert results == [[True, False], [False, True]]


def test_the_same_seed_draws_the_same_figure():
    first, again, other = (articulated_figures.draw_figure(100, RandomState(seed)) for seed in (7, 7, 8))
    assert (first.image == again.image).all()
    assert (first.joints == again.joints).all()
    assert first.joints.tolist() != other.joints.tolist()
