"""Distributions of the augmentation: ours against an independent sampler of the released one, and mmpose 1's."""

import re

import numpy as np
import pytest
from mmpose.datasets.transforms import RandomBBoxTransform, RandomHalfBody
from scipy.stats import ks_2samp

from moganet.paper.metafile import CHECKOUT
from moganet.run.config import load_config
from mogapose import augmentation
from mogapose.augmentation import ScaleRotateBBox, ShiftBBox

PARENT = CHECKOUT / 'configs/pose/moganet_xt_256x192.py'
NUMBER = 100_000
# Two samples of this size from one distribution differ by more than this once in ten million times.
APART = 0.013


def released(law: str) -> np.ndarray:
    """Drawn as the released configs say: clip(N(1, 0.5), 0.5, 1.5), clip(N(0, 40), +-80), uniform +-0.16."""
    random = np.random.default_rng(7)
    if law == 'scale':
        return np.clip(random.normal(1, 0.5, NUMBER), 0.5, 1.5)
    return np.clip(random.normal(0, 40, NUMBER), -80, 80) if law == 'rotation' else random.uniform(-0.16, 0.16, NUMBER)


def boxes(number: int = NUMBER, width: float = 75.0, height: float = 100.0) -> dict:
    """Boxes around the origin as the data set and ``GetBBoxCenterScale`` leave them."""
    size = np.tile(np.array([[width, height]], np.float32), (number, 1))
    return dict(bbox_center=np.zeros((number, 2), np.float32), bbox_scale=size)


@pytest.fixture(scope='module')
def drawn() -> dict[str, dict[str, np.ndarray]]:
    """Draws of both implementations: shift as a share of the width, factor of the size, angle; always all three."""
    np.random.seed(3)
    ours = ScaleRotateBBox(rotate_prob=1.0)(ShiftBBox(input_size=(192, 256), prob=1.0)(boxes()))
    theirs = RandomBBoxTransform(shift_prob=1.0, rotate_prob=1.0)(boxes())
    return {
        name: dict(
            shift=found['bbox_center'][:, 0] / 75, scale=found['bbox_scale'][:, 0] / 75, rotation=found['bbox_rotation']
        )
        for name, found in dict(ours=ours, theirs=theirs).items()
    }


@pytest.mark.parametrize('law', ['scale', 'rotation', 'shift'])
def test_boxes_follow_the_released_law(law, drawn):
    assert ks_2samp(drawn['ours'][law], released(law)).statistic < APART
    # The ends of the range have a probability of their own, which the distance does not show.
    low, high = {'scale': (0.5, 1.5), 'rotation': (-80, 80), 'shift': (-0.16, 0.16)}[law]
    end = {'scale': 0.1587, 'rotation': 0.0228, 'shift': 0.0}[law]  # of a normal, below -1 and -2
    for value in (low, high):
        assert np.isclose(drawn['ours'][law], value, atol=1e-6).mean() == pytest.approx(end, abs=0.005)


@pytest.mark.parametrize('law', ['scale', 'rotation', 'shift'])
def test_distance_from_mmpose_is_what_the_module_says(law, drawn):
    line = next(line for line in augmentation.__doc__.splitlines() if line.startswith(law))
    ours, theirs, distance = [part for part in re.split('  +', line) if part][1:]
    assert ks_2samp(drawn['theirs'][law], released(law)).statistic == pytest.approx(float(distance), abs=0.008)
    for name, text in dict(ours=ours, theirs=theirs).items():
        deviation = float(re.search(r'deviation ([\d.]+)', text)[1])
        assert drawn[name][law].std() == pytest.approx(deviation, rel=0.01)


def test_boxes_are_changed_as_often_as_released():
    np.random.seed(5)
    shifted = ShiftBBox(input_size=(192, 256))(boxes())['bbox_center']
    turned = ScaleRotateBBox()(boxes())
    assert (shifted != 0).any(1).mean() == pytest.approx(0.3, abs=0.01)
    assert ((shifted != 0).all(1) == (shifted != 0).any(1)).all()  # both ways or neither
    assert (turned['bbox_rotation'] != 0).mean() == pytest.approx(0.6, abs=0.01)
    assert (turned['bbox_scale'][:, 0] != 75).mean() > 0.999
    assert np.allclose(turned['bbox_scale'][:, 1] / turned['bbox_scale'][:, 0], 4 / 3)  # one factor for both
    assert {shifted.dtype, turned['bbox_scale'].dtype, turned['bbox_rotation'].dtype} == {np.dtype('float32')}


@pytest.mark.parametrize(('width', 'height', 'whole'), [(40, 100, (75, 100)), (90, 100, (90, 120))])
def test_shift_is_a_part_of_the_box_in_the_aspect_of_the_input(width, height, whole):
    np.random.seed(0)
    found = ShiftBBox(input_size=(288, 384), factor=0.2, prob=1.0)(boxes(20_000, width, height))
    assert np.abs(found['bbox_center']).max(0) == pytest.approx([0.2 * whole[0], 0.2 * whole[1]], rel=2e-3)
    assert (found['bbox_scale'] == (width, height)).all()


def test_options_are_those_of_the_law():
    np.random.seed(0)
    found = ScaleRotateBBox(scale=0.2, rotation=10.0, rotate_prob=0.25)(boxes())
    factor = found['bbox_scale'][:, 1] / 100
    assert [factor.min(), factor.max()] == pytest.approx([0.8, 1.2])
    assert np.abs(found['bbox_rotation']).max() == pytest.approx(20)
    assert (found['bbox_rotation'] != 0).mean() == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(
    ('upper', 'lower', 'chance'),
    [
        (8, 0, None),  # too few to be halved
        (11, 6, 0.6915),  # how often a normal draw is below 0.5
        (7, 2, 1.0),
        (2, 7, 0.0),  # two joints are too few, though mmpose 1 accepts them by default
    ],
)
def test_half_of_a_body_is_chosen_as_released(upper, lower, chance):
    (step,) = [step for step in load_config(PARENT).train_pipeline if step['type'] == 'RandomHalfBody']
    options = {key: value for key, value in step.items() if key not in ('type', '_scope_')}
    half = RandomHalfBody(**options, prob=1.0)
    visible = np.array([i < upper or 11 <= i < 11 + lower for i in range(18)], float)
    np.random.seed(1)
    found = half._random_select_half_body(np.tile(visible, (20_000, 1)), list(range(11)), list(range(11, 18)))
    assert (chance is None) == (found[0] is None)
    if chance is not None:
        assert np.mean([ids[0] == 0 for ids in found]) == pytest.approx(chance, abs=0.015)
        assert {len(ids) for ids in found} <= {upper, lower}
