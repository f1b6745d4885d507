"""The grid of the demos' pictures."""

import numpy as np
import pytest

from moganet.io.images import read_image, write_image
from moganet.mini import gallery
from moganet.run.tasks import PACKAGES

TILES = (
    gallery.Tile('left', 'cls', 'a.png', (0, 0, 0.5, 1), 0, 0, 2),
    gallery.Tile('right', 'det', 'b/b.png', (0.5, 0, 1, 1), 0, 2, 2),
)


def test_grid_shows_the_named_part_of_each_picture(tmp_path):
    picture = np.zeros((40, 80, 3), np.uint8)
    picture[:, :40], picture[:, 40:] = (200, 0, 0), (0, 0, 200)
    write_image(picture, tmp_path / 'cls/a.png')
    assert gallery.missing_tasks(tmp_path, TILES) == ['det']
    with pytest.raises(FileNotFoundError, match='det'):
        gallery.draw_tasks(tmp_path, tmp_path / 'grid.png', TILES)
    write_image(picture, tmp_path / 'det/b/b.png')
    drawn = read_image(gallery.draw_tasks(tmp_path, tmp_path / 'grid.png', TILES))
    half = drawn.shape[1] // 2
    assert (drawn[:, :half] == (200, 0, 0)).all(-1).mean() > 0.2
    assert (drawn[:, half:] == (0, 0, 200)).all(-1).mean() > 0.2
    assert not (drawn[:, :half] == (0, 0, 200)).all(-1).any()


def test_grid_of_the_first_page_has_a_tile_of_every_task():
    assert {tile.task for tile in gallery.TILES} == set(PACKAGES)
    for tile in gallery.TILES:
        left, top, right, bottom = tile.box
        assert 0 <= left < right <= 1
        assert 0 <= top < bottom <= 1
        assert tile.column + tile.span <= gallery.COLUMNS
