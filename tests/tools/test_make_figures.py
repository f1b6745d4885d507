"""make_figures: draws the diagram, and the grid once each demo has left its picture."""

import numpy as np

from helpers.tool_runs import run_tool
from moganet.io.images import read_image, write_image
from moganet.mini import gallery


def test_figures_are_drawn_from_the_pictures_of_the_demos(tmp_path):
    for tile in gallery.TILES:
        write_image(np.full((64, 64, 3), 128, np.uint8), tmp_path / 'demos' / tile.task / tile.picture)
    assert not run_tool('make_figures', '--out', tmp_path / 'out', '--demos', tmp_path / 'demos')
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['architecture.png', 'tasks.jpg']
    assert read_image(tmp_path / 'out/tasks.jpg').shape[1] == gallery.WIDTH * gallery.DPI


def test_diagram_alone_needs_no_demo(tmp_path):
    assert not run_tool('make_figures', '--only', 'architecture', '--out', tmp_path / 'out', '--demos', tmp_path / 'no')
    assert [path.name for path in (tmp_path / 'out').iterdir()] == ['architecture.png']
