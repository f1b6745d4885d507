"""Images: read upright, put into a grid in order, written or refused."""

import numpy as np
import pytest
from PIL import Image

from moganet.io import images


def test_grid_keeps_order_and_shape(tmp_path):
    colours = [(255, 0, 0), (0, 255, 0), (0, 0, 255)]
    panels = [np.full((32, 64, 3), colour, np.uint8) for colour in colours]
    path = images.draw_grid(panels, tmp_path / 'new/grid.png', columns=2, cell=64)
    grid = np.asarray(Image.open(path))
    assert grid.shape == (128, 128, 3)
    assert [tuple(grid[y, x]) for y, x in ((32, 32), (32, 96), (96, 32))] == colours
    assert (grid[:16] == 255).all()
    assert (grid[64:, 64:] == 255).all()


def test_a_file_that_is_no_image_is_named(tmp_path):
    path = tmp_path / 'broken.jpg'
    path.write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'broken.jpg cannot be read as an image'):
        images.read_image(path)


def test_an_image_is_turned_as_its_camera_says(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera lay on its side
    Image.new('RGB', (30, 20), (200, 10, 10)).save(tmp_path / 'side.jpg', exif=exif)
    image = images.read_image(tmp_path / 'side.jpg')
    assert image.shape == (30, 20, 3)
    assert image[15, 10, 0] > 150 > image[15, 10, 2]


def test_small_images_are_enlarged_and_large_ones_are_not():
    small, zoom = images.enlarge(np.zeros((20, 40, 3), np.uint8), 100)
    assert small.shape == (50, 100, 3)
    assert zoom == 2.5
    assert images.enlarge(np.zeros((20, 140, 3), np.uint8), 100)[1] == 1


def test_a_picture_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / 'taken.png').mkdir()
    with pytest.raises(OSError, match=r'taken.png cannot be written'):
        images.write_image(np.zeros((4, 4, 3), np.uint8), tmp_path / 'taken.png')
