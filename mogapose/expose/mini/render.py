"""A small z-buffer renderer in numpy, with light from one side.

Pixel centres have integer coordinates, x to the right and y down, as in OpenCV and in key points. Depth grows away from
the viewer.
"""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from .meshes import cross_2d

AMBIENT = 0.4  # share of ambient light
EDGE = 1e-9  # margin of a triangle's edges, as a share of its size
NEAR = 1e-6  # smallest depth in front of a perspective camera, in metres


class Raster(NamedTuple):
    """The foremost triangle at each pixel.

    Attributes:
        triangle: (H, W) int, the number of the triangle; -1 where there is none.
        weights: (H, W, 3) float, the barycentric coordinates of the pixel in it; zeros where there is none.
        depth: (H, W) float; infinite where there is none.
    """

    triangle: np.ndarray
    weights: np.ndarray
    depth: np.ndarray


def perspective(points: np.ndarray, focal: float, centre: tuple[float, float] | np.ndarray) -> np.ndarray:
    """Project points by a perspective camera.

    Args:
        points: (N, 3) in the camera's frame, in metres: x to the right, y down, z forwards.
        focal: Focal length in pixels.
        centre: The image's principal point x, y in pixels.

    Returns:
        (N, 3), x and y in pixels and depth in metres.

    Raises:
        ValueError: A point lies behind the camera.
    """
    points = np.asarray(points, float)
    if points[:, 2].min() <= NEAR:
        raise ValueError(
            f'the nearest point has z = {points[:, 2].min():.3g} m: expected points in front of the camera'
        )
    return np.column_stack((points[:, :2] / points[:, 2:] * focal + centre, points[:, 2]))


def rasterise(points: np.ndarray, faces: np.ndarray, size: tuple[int, int]) -> Raster:
    """Find the foremost triangle at each pixel centre.

    Triangles are visible from both sides. Depth and weights are interpolated linearly in the image. That is exact for
    a weak perspective camera, and accurate for the small triangles of body models under other cameras.

    Args:
        points: (V, 3), x and y in pixels and depth.
        faces: (F, 3) vertex numbers.
        size: Width and height in pixels.
    """
    width, height = size
    corners = np.asarray(points, float)[faces]
    low, high = (
        pick(pick(corners[:, 0, :2], corners[:, 1, :2]), corners[:, 2, :2]) for pick in (np.minimum, np.maximum)
    )
    first = np.ceil(low).clip(0, size).astype(int)
    last = np.floor(high).clip(-1, (width - 1, height - 1)).astype(int)
    span = (last - first + 1).clip(0)
    hit = np.flatnonzero(span[:, 0] * span[:, 1])
    corners, first, span = corners[hit], first[hit], span[hit]
    counts = span[:, 0] * span[:, 1]
    # One row per pixel of each triangle's bounding box.
    owner = np.repeat(np.arange(len(hit)), counts)
    place = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    row, column = np.divmod(place, span[owner, 0])
    x, y = first[owner, 0] + column, first[owner, 1] + row
    slopes, offset = _planes(corners)
    planes = [slopes[owner, k, 0] * x + slopes[owner, k, 1] * y + offset[owner, k] for k in range(3)]
    # A centre on the edge between two triangles counts for both, so that rounding cannot exclude it from both.
    inside = (planes[0] >= -EDGE) & (planes[1] >= -EDGE) & (planes[2] >= -EDGE)
    owner, x, y = owner[inside], x[inside], y[inside]
    weights = np.stack([plane[inside] for plane in planes], 1)
    depth = (weights * corners[owner, :, 2]).sum(1)
    # If several values are assigned to one pixel, the last one wins in numpy: the nearest.
    order = np.argsort(-depth, kind='stable')
    winner = np.full((height, width), -1)
    winner[y[order], x[order]] = order
    seen = winner >= 0
    raster = Raster(np.full((height, width), -1), np.zeros((height, width, 3)), np.full((height, width), np.inf))
    for target, values in zip(raster, (hit[owner], weights, depth), strict=True):
        target[seen] = values[winner[seen]]
    return raster


def _planes(corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return slopes (F, 3, 2) and offsets (F, 3) of the barycentric coordinates, which are linear in x and y.

    The coordinates of triangles without an area are negative everywhere, so that such triangles are invisible.
    """
    a, b, c = corners[:, 0, :2], corners[:, 1, :2], corners[:, 2, :2]
    area = cross_2d(b - a, c - a)
    flat = np.abs(area) < 1e-12
    inverse = 1 / np.where(flat, 1, area)
    edges = np.stack((c - b, a - c, b - a), 1) * inverse[:, None, None]
    slopes = np.stack((-edges[..., 1], edges[..., 0]), -1)
    offset = np.stack((cross_2d(b, c), cross_2d(c, a), cross_2d(a, b)), 1) * inverse[:, None]
    slopes[flat], offset[flat] = 0, -1
    return slopes, offset


def vertex_normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Return unit normals (V, 3), the area-weighted means of the triangles around each vertex.

    Args:
        vertices: (V, 3).
        faces: (F, 3) vertex numbers, counter-clockwise seen from outside.
    """
    corners = vertices[faces]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.zeros((len(vertices), 3))
    for axis in range(3):
        total[:, axis] = np.bincount(faces.ravel(), np.repeat(normals[:, axis], 3), len(vertices))
    return total / np.linalg.norm(total, axis=1, keepdims=True).clip(1e-12)


def render(
    vertices: np.ndarray,
    points: np.ndarray,
    faces: np.ndarray,
    colours: np.ndarray,
    light: Sequence[float] | np.ndarray,
    size: tuple[int, int],
    oversampling: int = 2,
) -> tuple[np.ndarray, np.ndarray]:
    """Render a matt surface in the light of one distant lamp (Lambert), with smooth edges.

    Args:
        vertices: (V, 3) in the camera's frame, z away from the viewer, from which the normals are computed.
        points: (V, 3), the projected vertices: x and y in pixels and depth.
        faces: (F, 3) vertex numbers, counter-clockwise seen from outside.
        colours: (V, 3) or (3,), 0 to 255.
        light: (3,), the direction towards the lamp, of any length.
        size: Width and height in pixels.
        oversampling: Each pixel is the mean of ``oversampling`` x ``oversampling`` samples.

    Returns:
        Colours (H, W, 3), 0 to 255, and opacity (H, W), 0 to 1, both float32. Colours are premultiplied by the opacity.
    """
    width, height = size
    n = oversampling
    fine = np.array(points, float)
    # The samples of a pixel lie evenly around its centre.
    fine[:, :2] = (fine[:, :2] + 0.5) * n - 0.5
    raster = rasterise(fine, faces, (width * n, height * n))
    seen = raster.triangle >= 0
    corners, weights = faces[raster.triangle[seen]], raster.weights[seen][:, None]
    normals = (weights @ vertex_normals(vertices, faces)[corners])[:, 0]
    normals /= np.linalg.norm(normals, axis=1, keepdims=True).clip(1e-12)
    # The inside of an open surface, such as a hand's wrist, is lit like the outside.
    normals *= np.where(normals[:, 2:] > 0, -1, 1)
    lamp = np.asarray(light, float) / np.linalg.norm(light)
    shade = AMBIENT + (1 - AMBIENT) * (normals @ lamp).clip(0)
    colours = np.broadcast_to(np.asarray(colours, float), (len(vertices), 3))
    layers = np.zeros((height * n, width * n, 4), np.float32)
    layers[seen, :3] = (weights @ colours[corners])[:, 0] * shade[:, None]
    layers[seen, 3] = 1
    layers = cv2.resize(layers, (width, height), interpolation=cv2.INTER_AREA)
    return layers[..., :3], layers[..., 3]


def composite(background: np.ndarray, colours: np.ndarray, opacity: np.ndarray, strength: float = 1.0) -> np.ndarray:
    """Draw a rendered surface over an image.

    Args:
        background: (H, W, 3), 0 to 255.
        colours: (H, W, 3) of ``render``.
        opacity: (H, W) of ``render``.
        strength: Opacity of the surface: 1 hides the background, 0 leaves it unchanged.

    Returns:
        (H, W, 3) uint8.
    """
    mixed = background * (1 - strength * opacity[..., None]) + strength * colours
    return np.rint(mixed).clip(0, 255).astype(np.uint8)
