"""A grid of pictures that the demos left in their work folders."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ..io.figures import new_figure, save_figure
from ..io.images import read_image

WIDTH, ROW_HEIGHT, DPI = 9.0, 2.5, 200  # inches and pixels per inch
COLUMNS = 4


class Tile(NamedTuple):
    """A part of a demo's picture."""

    title: str
    task: str  # whose demo wrote the picture
    picture: str  # in the work folder of the demo
    box: tuple[float, float, float, float]  # left, top, right and bottom, as shares of the picture
    row: int
    column: int
    span: int = 1  # columns


TILES = (
    Tile('classification', 'cls', 'predictions.png', (0, 0, 0.25, 0.5), 0, 0),
    Tile('detection', 'det', 'predictions.png', (0, 0, 0.25, 1 / 3), 0, 1),
    Tile('segmentation', 'seg', 'predictions.png', (0, 0.03, 0.5, 0.5), 0, 2),
    Tile('2D pose', 'pose', 'predictions.png', (0.781, 1 / 3, 0.969, 2 / 3), 0, 3),
    Tile('3D hands', 'expose', 'predictions.png', (0, 0, 1, 0.5), 1, 0),
    Tile('3D faces', 'expose', 'face/predictions.png', (0, 0, 1, 0.5), 1, 1),
    Tile('video prediction', 'video', 'prediction.png', (0, 0, 0.64, 0.752), 1, 2, 2),
)


def missing_tasks(work_dirs: str | Path, tiles: Sequence[Tile] = TILES) -> list[str]:
    """Return the tasks whose demos have not left a picture below ``work_dirs``, each once."""
    return list(dict.fromkeys(tile.task for tile in tiles if not _path(tile, work_dirs).is_file()))


def draw_tasks(work_dirs: str | Path, path: str | Path, tiles: Sequence[Tile] = TILES) -> Path:
    """Write the grid and return its path.

    Args:
        work_dirs: The folder that holds the work folder of each demo, named for the task.
        path: JPEG or PNG, by its suffix.
        tiles: The parts of pictures, with their places in the grid.

    Raises:
        FileNotFoundError: a picture is missing.
    """
    rows = 1 + max(tile.row for tile in tiles)
    figure = new_figure(WIDTH, rows * ROW_HEIGHT, dpi=DPI)
    grid = figure.add_gridspec(rows, COLUMNS)
    for tile in tiles:
        axes = figure.add_subplot(grid[tile.row, tile.column : tile.column + tile.span])
        image = read_image(_path(tile, work_dirs))
        height, width = image.shape[:2]
        left, top, right, bottom = tile.box
        part = image[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]
        axes.imshow(part, interpolation='antialiased')
        axes.set_axis_off()
        axes.set_anchor('N')
        axes.set_title(tile.title, fontsize=10)
    return save_figure(figure, path)


def _path(tile: Tile, work_dirs: str | Path) -> Path:
    return Path(work_dirs, tile.task, tile.picture)
