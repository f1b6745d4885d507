"""Images as arrays: reading, enlarging, grids and writing."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from .readable import require_readable

# Labels on smaller pictures are hard to read.
MIN_LONG_EDGE = 640


def read_image(path: str | Path) -> np.ndarray:
    """Return an image file as RGB, (H, W, 3) uint8, rotated by its EXIF orientation.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file cannot be decoded. The message names it.
    """
    require_readable(path)
    return cv2.cvtColor(read_bgr(path), cv2.COLOR_BGR2RGB)


def read_bgr(path: str | Path) -> np.ndarray:
    """Return an image file as OpenCV decodes it: BGR, (H, W, 3) uint8. The loaders of training data use it.

    Raises:
        ValueError: OpenCV finds no image that it can decode.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise ValueError(f'{path} is missing or cannot be read as an image by OpenCV: save it as JPEG or PNG')
    return image


def enlarge(image: np.ndarray, long_edge: int = MIN_LONG_EDGE) -> tuple[np.ndarray, float]:
    """Enlarge an image (H, W, 3) unless its long edge has at least ``long_edge`` pixels.

    Returns:
        The image and the factor of its size, 1 or more.
    """
    zoom = max(1.0, long_edge / max(image.shape[:2]))
    size = round(image.shape[1] * zoom), round(image.shape[0] * zoom)
    return cv2.resize(image, size, interpolation=cv2.INTER_CUBIC), zoom


def draw_grid(pictures: Sequence[np.ndarray], path: str | Path, columns: int = 4, cell: int = MIN_LONG_EDGE) -> Path:
    """Write RGB pictures in rows, each centred in a white square.

    Args:
        pictures: Each (H, W, 3) uint8, of any size.
        path: The image file.
        columns: Pictures per row.
        cell: Side of a square, in pixels.

    Returns:
        ``path``.

    Raises:
        OSError: the file cannot be written.
    """
    rows = -(-len(pictures) // columns)
    grid = np.full((rows * cell, columns * cell, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        zoom = cell / max(picture.shape[:2])
        picture = cv2.resize(picture, (round(picture.shape[1] * zoom), round(picture.shape[0] * zoom)))
        height, width = picture.shape[:2]
        top = i // columns * cell + (cell - height) // 2
        left = i % columns * cell + (cell - width) // 2
        grid[top : top + height, left : left + width] = picture
    return write_image(grid, path)


def write_image(picture: np.ndarray, path: str | Path) -> Path:
    """Write an RGB picture (H, W, 3) uint8, making its folder, and return the path.

    Raises:
        OSError: the file cannot be written.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise OSError(f'{path} cannot be written')
    return path
