"""Figures show their input."""

import numpy as np
import pytest
from PIL import Image

from mogacls import draw

INK = {
    name: np.array([int(color[i : i + 2], 16) for i in (1, 3, 5)])
    for name, color in dict(good=draw.GOOD, bad=draw.BAD, bar=draw.BAR).items()
}


def share(path, color):
    """Return the fraction of the picture's pixels in a colour."""
    pixels = np.asarray(Image.open(path).convert('RGB')).astype(int)
    return (np.abs(pixels - INK[color]).sum(-1) < 12).mean()


@pytest.fixture
def image(tmp_path):
    """Return a magenta image, a colour that nothing else in a figure has."""
    path = tmp_path / 'image.png'
    Image.new('RGB', (8, 8), (255, 0, 255)).save(path)
    return path


def magenta(path):
    return (np.asarray(Image.open(path).convert('RGB')).astype(int) == (255, 0, 255)).all(-1).mean()


def test_bars_are_as_long_as_probabilities(tmp_path, image):
    classes = list('abcdefg')
    one = draw.draw_top5(image, [1.0, 0, 0, 0, 0, 0, 0], classes, tmp_path / 'one.png')
    half = draw.draw_top5(image, [0.5, 0, 0, 0, 0, 0, 0], classes, tmp_path / 'half.png')
    assert share(one, 'bar') / share(half, 'bar') == pytest.approx(2, rel=0.1)
    assert magenta(one) > 0.1


def test_fewer_than_five_classes_are_all_shown(tmp_path, image):
    path = draw.draw_top5(image, [0.25, 0.75], ['cat', 'dog'], tmp_path / 'two.png')
    assert share(path, 'bar') > 0.05


def test_grid_shows_every_image_and_marks_errors(tmp_path, image):
    def grid(count, predicted):
        return draw.draw_grid(
            [image] * count, predicted, [1] * count, [0.9] * count, ['a', 'b'], tmp_path / f'{count}{predicted[0]}.png'
        )

    right, wrong = grid(8, [1] * 8), grid(8, [0] * 8)
    assert share(right, 'good') > 0
    assert share(right, 'bad') == 0
    assert share(wrong, 'bad') > 0
    assert share(wrong, 'good') == 0
    assert magenta(grid(4, [1] * 4)) == pytest.approx(magenta(right) / 2, rel=0.1)


def test_confusion_writes_errors_in_red(tmp_path):
    clean = draw.draw_confusion(np.diag([5, 6, 7]), 'abc', tmp_path / 'clean.png')
    wrong = draw.draw_confusion(np.diag([5, 6, 7]) + np.eye(3, k=1, dtype=int), 'abc', tmp_path / 'wrong.png')
    assert share(clean, 'bad') == 0 < share(wrong, 'bad')
