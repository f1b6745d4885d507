"""Figures of predictions: rows, columns, colours, and a frame of the animation per frame."""

import numpy as np
import pytest
from PIL import Image

from mogavideo import draw

LEFT, STEP = draw.LABEL_WIDTH, draw.STRIP_SIDE + draw.GAP


def cell(picture: Image.Image, row: int, column: int, place: float = 0.5) -> tuple[int, int, int]:
    """Return the colour in the middle of a frame, or elsewhere on its diagonal."""
    at = int(place * draw.STRIP_SIDE)
    return picture.getpixel((LEFT + column * STEP + at, draw.GAP + row * STEP + at))


@pytest.fixture
def frames():
    """Return three grey input frames and four that follow: predicted too bright, too dark, right, and beyond white."""
    inputs = np.stack([np.full((1, 8, 8), level) for level in (0.2, 0.4, 0.6)])
    prediction = np.stack([np.full((1, 8, 8), level) for level in (0.9, 0.1, 0.5, 1.5)])
    return inputs, prediction, np.full((4, 1, 8, 8), 0.5)


def test_strip_has_a_row_for_input_truth_prediction_and_difference(frames, tmp_path):
    with Image.open(draw.draw_strip(*frames, tmp_path / 'new/strip.png')) as picture:
        assert picture.size == (LEFT + 4 * STEP, draw.GAP + 4 * STEP)
        assert [cell(picture, 0, i) for i in range(4)] == [(51,) * 3, (102,) * 3, (153,) * 3, (255,) * 3]
        assert [cell(picture, 1, i) for i in range(4)] == [(128,) * 3] * 4
        assert [cell(picture, 2, i) for i in range(4)] == [(230,) * 3, (26,) * 3, (128,) * 3, (255,) * 3]
        red, blue, none, most = (cell(picture, 3, i) for i in range(4))
        assert red == (255, 153, 153)
        assert blue == (153, 153, 255)
        assert none == (255, 255, 255)
        assert most == (255, 0, 0)
        assert np.asarray(picture)[: 4 * STEP, :LEFT].min() < 100  # the labels


def test_strip_shows_the_truth_as_far_as_it_is_known(frames, tmp_path):
    inputs, prediction, target = frames
    with Image.open(draw.draw_strip(inputs, prediction, target[:2], tmp_path / 'some.png')) as picture:
        assert [cell(picture, 1, i) for i in range(4)] == [(128,) * 3] * 2 + [(255,) * 3] * 2
        assert [cell(picture, 3, i)[2] for i in range(4)] == [153, 255, 255, 255]
    with Image.open(draw.draw_strip(inputs, prediction, target[:0], tmp_path / 'none.png')) as picture:
        assert picture.size == (LEFT + 4 * STEP, draw.GAP + 2 * STEP)
        assert cell(picture, 1, 1) == (26,) * 3


def test_colour_and_other_channels_and_sizes_are_shown(tmp_path):
    colour = np.zeros((1, 3, 200, 100))
    colour[:, 0] = 1
    with Image.open(draw.draw_strip(colour, colour, colour, tmp_path / 'colour.png')) as picture:
        assert picture.size == (LEFT + 48 + draw.GAP, draw.GAP + 4 * STEP)
        assert picture.getpixel((LEFT + 20, draw.GAP + 50)) == (255, 0, 0)
    two = np.stack([np.zeros((8, 8)), np.ones((8, 8))])[None]
    with Image.open(draw.draw_strip(two, two, two, tmp_path / 'two.png')) as picture:
        assert cell(picture, 0, 0) == (128,) * 3


def test_animation_has_a_frame_per_frame_and_rests_at_the_end(frames, tmp_path):
    path = draw.draw_animation(*frames, tmp_path / 'new/clip.gif')
    with Image.open(path) as file:
        assert file.n_frames == 7
        assert file.info['loop'] == 0
        durations, middles = [], []
        for i in range(7):
            file.seek(i)
            durations.append(file.info['duration'])
            pixels = np.asarray(file.convert('RGB'), int)
            step = draw.GIF_SIDE + draw.GAP
            middles.append([pixels[draw.CAPTION_HEIGHT + 90, draw.GAP + 90 + k * step] for k in range(3)])
    assert durations == [180] * 6 + [1200]
    middles = np.array(middles)
    white = [255] * 3
    assert np.abs(middles[:3, 0, 0] - (51, 102, 153)).max() <= 3  # a GIF has 256 colours per frame
    assert (middles[:3, 1:] == white).all()
    assert np.abs(middles[3:, 0, 0] - (230, 26, 128, 255)).max() <= 3
    assert np.abs(middles[3:, 1] - 128).max() <= 3
    assert np.abs(middles[3, 2] - (255, 153, 153)).max() <= 3
    assert np.abs(middles[4, 2] - (153, 153, 255)).max() <= 3


def test_animation_without_truth_is_one_frame_wide(frames, tmp_path):
    inputs, prediction, target = frames
    with Image.open(draw.draw_animation(inputs, prediction, target[:0], tmp_path / 'clip.gif')) as file:
        assert file.size == (2 * draw.GAP + draw.GIF_SIDE, draw.CAPTION_HEIGHT + draw.GIF_SIDE + draw.GAP)
        assert file.n_frames == 7


def test_curves_are_written(tmp_path):
    curves = dict(mse_per_frame=[1.0, 2.0], mse_copy_last_per_frame=[5.0, 6.0], ssim_per_frame=[0.9, 0.8])
    with Image.open(draw.draw_curves(curves, 11, tmp_path / 'new/curves.png')) as picture:
        colours = {colour for _, colour in picture.convert('RGB').getcolors(100000)}
    assert {(192, 57, 43), (153, 153, 153), (59, 110, 165)} <= colours  # prediction, baseline, SSIM
