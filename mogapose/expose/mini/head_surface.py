"""The surface of the synthetic head, which has the sizes of FLAME.

It consists of rings from the neck to the crown, from which the features of a face are raised. The mouth is a slit
between two rows of vertices with a pocket behind it. The eyes are two balls in their sockets. The frame is FLAME's, in
metres: x to the person's left, y up, z out of the face, the middle between the eyes near the origin.
"""

from typing import NamedTuple

import numpy as np

from .meshes import MeshBuilder, smoothstep

COLUMNS, ROWS = 60, 70
MOUTH_ROW, MOUTH_HALF = 24, 7  # the row of the line between the lips; columns on each side of the middle
POCKET_ROWS = 3
EYE_RINGS, EYE_COLUMNS = 15, 24
EYE = np.array((0.0315, 0.0, 0.0525))
EYE_RADIUS = 0.0135
MOUTH_Y = -0.072

# Profile of the head: row, then y and z in front, x and y at the side, y and z behind.
PROFILE = np.array(
    (
        (0, -0.185, 0.040, 0.064, -0.185, -0.185, -0.075),
        (5, -0.155, 0.036, 0.058, -0.160, -0.160, -0.076),
        (9, -0.128, 0.040, 0.057, -0.136, -0.140, -0.080),
        (13, -0.117, 0.062, 0.061, -0.116, -0.125, -0.086),
        (16, -0.112, 0.078, 0.064, -0.100, -0.112, -0.092),
        (19, -0.100, 0.084, 0.067, -0.086, -0.096, -0.098),
        (22, -0.082, 0.083, 0.069, -0.072, -0.080, -0.104),
        (24, -0.072, 0.085, 0.070, -0.062, -0.068, -0.107),
        (26, -0.062, 0.085, 0.071, -0.052, -0.056, -0.110),
        (30, -0.044, 0.084, 0.072, -0.036, -0.036, -0.114),
        (38, -0.010, 0.082, 0.074, -0.006, 0.000, -0.118),
        (44, 0.014, 0.082, 0.075, 0.018, 0.030, -0.119),
        (50, 0.038, 0.083, 0.075, 0.040, 0.056, -0.115),
        (56, 0.064, 0.076, 0.072, 0.064, 0.080, -0.102),
        (62, 0.090, 0.056, 0.060, 0.090, 0.101, -0.076),
        (67, 0.107, 0.028, 0.038, 0.109, 0.112, -0.044),
        (70, 0.114, -0.008, 0.000, 0.114, 0.114, -0.008),
    )
)
# Row and z of the middle of a ring.
MIDDLE_Z = np.array(((0, -0.020), (10, -0.018), (24, -0.010), (44, -0.012), (70, -0.008)))


class HeadSurface(NamedTuple):
    """The mesh of the head and the vertex numbers of its pieces.

    Attributes:
        mesh: The mesh.
        grid: (70, 60), the skin; row ``MOUTH_ROW`` is the lower lip.
        upper: The upper lip between the corners of the mouth.
        rim: The ring of both lips.
        pocket: (3, 28), the rings of the inside of the mouth, behind the rim.
        pocket_end: The vertex at the end of the pocket.
        crown: The topmost vertex.
        eyes: Left and right eye.
    """

    mesh: MeshBuilder
    grid: np.ndarray
    upper: list[int]
    rim: list[int]
    pocket: np.ndarray
    pocket_end: int
    crown: int
    eyes: tuple[list[int], list[int]]


def column_angles() -> np.ndarray:
    """Return the angles (60,) of the columns in radians, closer in front than behind.

    They are 0 in front and positive on the person's left.
    """
    turn = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)
    return turn - 0.62 * np.sin(turn)


def _smooth_table(rows: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Interpolate a table, whose first column is the row, at other rows (N,), and smooth it; (N, C - 1)."""
    fine = np.linspace(rows[0] - 2, rows[-1] + 2, 60 * 8)
    values = np.stack([np.interp(fine, table[:, 0], column) for column in table[:, 1:].T], 1)
    kernel = np.hanning(23)
    kernel /= kernel.sum()
    padded = np.pad(values, ((11, 11), (0, 0)), mode='edge')
    values = np.stack([np.convolve(column, kernel, 'valid') for column in padded.T], 1)
    return np.stack([np.interp(rows, fine, column) for column in values.T], 1)


def _skin(rows: np.ndarray) -> np.ndarray:
    """Return the vertices (rows, 60, 3) of the head without features."""
    front_y, front_z, side_x, side_y, back_y, back_z = _smooth_table(rows, PROFILE).T[:, :, None]
    middle = np.interp(rows, MIDDLE_Z[:, 0], MIDDLE_Z[:, 1])[:, None]
    angle = column_angles()[None]
    cos, sin = np.cos(angle), np.sin(angle)
    # The forehead is squarer than an ellipse, the chin more pointed.
    power = np.interp(rows, (10, 17, 24, 40), (2.0, 1.62, 1.85, 2.25))[:, None]
    power = np.where(cos > 0, power, 2.1)
    size = (np.abs(cos) ** power + np.abs(sin) ** power) ** (-1 / power)
    x = side_x * sin * size
    z = middle + np.where(cos > 0, front_z - middle, middle - back_z) * cos * size
    ahead, behind = np.clip(cos, 0, 1) ** 1.5, np.clip(-cos, 0, 1) ** 1.5
    y = side_y + (front_y - side_y) * ahead + (back_y - side_y) * behind
    return np.stack((x, y, z), -1)


def bump(points: np.ndarray, x: float, y: float, wide: float, high: float, both: bool = True) -> np.ndarray:
    """Return the height (...) of a smooth hill on the front of the face.

    Args:
        points: (..., 3) in metres.
        x: Place of the hill's top.
        y: Place of the hill's top.
        wide: Width of the hill in x.
        high: Width of the hill in y.
        both: Mirror the hill to the other side of the face.

    Returns:
        0 to 1.
    """
    across = np.abs(points[..., 0]) if both else points[..., 0]
    hill = np.exp(-(((across - x) / wide) ** 2) - ((points[..., 1] - y) / high) ** 2)
    return hill * smoothstep(points[..., 2] / 0.04)


def _features(points: np.ndarray) -> np.ndarray:
    """Return vertices (..., 3) with nose, brows, sockets, cheeks, lips, chin and ears."""
    out = np.zeros_like(points)
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    front = smoothstep(z / 0.04)
    # The nose is a ridge that rises from between the eyes to its tip and ends abruptly below it.
    along = (0.010 - y) / 0.055
    height = 0.027 * np.clip(along, 0, 1) ** 1.1 * (1 - smoothstep((along - 0.88) / 0.30))
    width = 0.0060 + 0.0055 * np.clip(along, 0, 1)
    out[..., 2] += front * height * np.exp(-((np.abs(x) / width) ** 2))
    out[..., 2] += 0.006 * bump(points, 0.0125, -0.041, 0.006, 0.007)
    sockets = bump(points, EYE[0], EYE[1], 0.020, 0.014)
    opening = bump(points, EYE[0], EYE[1] - 0.001, 0.0155, 0.0078)
    out[..., 2] += -0.011 * sockets - 0.012 * opening
    out[..., 2] += 0.005 * bump(points, 0.030, 0.024, 0.024, 0.009) + 0.003 * bump(points, 0, 0.022, 0.02, 0.012)
    out[..., 2] += 0.005 * bump(points, 0.042, -0.030, 0.018, 0.016)
    upper, lower = bump(points, 0, MOUTH_Y + 0.0065, 0.017, 0.0055), bump(points, 0, MOUTH_Y - 0.0075, 0.016, 0.0065)
    out[..., 2] += 0.0060 * upper + 0.0065 * lower - 0.002 * bump(points, 0, MOUTH_Y, 0.022, 0.0022)
    out[..., 2] += -0.003 * bump(points, 0, -0.088, 0.018, 0.005) + 0.007 * bump(points, 0, -0.104, 0.016, 0.010)
    ear = np.exp(-(((z + 0.012) / 0.011) ** 2) - ((y + 0.012) / 0.026) ** 2) * smoothstep((np.abs(x) - 0.05) / 0.02)
    out[..., 0] += np.sign(x) * 0.014 * ear
    out[..., 2] -= 0.010 * ear
    return points + out


def _ball(mesh: MeshBuilder, centre: np.ndarray) -> list[int]:
    """Add an eye, a ball whose poles lie in front and behind. Return its vertices."""
    polar = np.linspace(0, np.pi, EYE_RINGS + 2)[1:-1]
    around = np.linspace(0, 2 * np.pi, EYE_COLUMNS, endpoint=False)
    first = mesh.size
    ring: list[int] = []
    for angle in polar[::-1]:
        flat = np.stack((np.cos(around), np.sin(around), np.zeros(EYE_COLUMNS)), 1) * np.sin(angle)
        new = mesh.add(centre + EYE_RADIUS * (flat + np.array((0, 0, np.cos(angle)))))
        if ring:
            mesh.bridge(ring, new)
        else:
            back = mesh.add(centre - np.array((0, 0, EYE_RADIUS)))[0]
            mesh.close(new[::-1], back)
        ring = new
    mesh.close(ring, mesh.add(centre + np.array((0, 0, EYE_RADIUS)))[0])
    return list(range(first, mesh.size))


def build_head() -> HeadSurface:
    """Build the surface of the head."""
    mesh = MeshBuilder()
    points = _features(_skin(np.arange(ROWS)))
    grid = [mesh.add(row) for row in points]
    middle = COLUMNS // 2
    slit = range(middle - MOUTH_HALF, middle + MOUTH_HALF + 1)
    upper_row = list(grid[MOUTH_ROW])
    for column in slit[1:-1]:
        upper_row[column] = mesh.add(points[MOUTH_ROW, column])[0]
    for row in range(ROWS - 1):
        mesh.bridge(upper_row if row == MOUTH_ROW else grid[row], grid[row + 1])
    crown = mesh.add(_skin(np.array([ROWS]))[0, 0])[0]
    mesh.close(grid[-1], crown)
    upper = [upper_row[column] for column in slit[1:-1]]
    rim = [*(grid[MOUTH_ROW][column] for column in slit), *upper[::-1]]
    pocket, pocket_end = _pocket(mesh, rim, upper)
    eyes = (_ball(mesh, EYE), _ball(mesh, EYE * (-1, 1, 1)))
    return HeadSurface(mesh, np.array(grid), upper, rim, np.array(pocket), pocket_end, crown, eyes)


def _pocket(mesh: MeshBuilder, rim: list[int], upper: list[int]) -> tuple[list[list[int]], int]:
    """Add the inside of the mouth, wider than the closed lips. Return its rings, front to back, and its end."""
    lips = mesh.vertices[rim]
    side = np.where(np.isin(rim, upper), 1, -1) * (1 - (lips[:, 0] / np.abs(lips[:, 0]).max()) ** 2)
    rings = [rim]
    for step in range(1, POCKET_ROWS + 1):
        depth = step / (POCKET_ROWS + 1)
        points = lips * (1 - 0.3 * depth, 1, 1) + (0, 0, -0.045 * depth)
        points[:, 1] += 0.012 * np.sin(np.pi * depth) * side
        rings.append(mesh.add(points))
        mesh.bridge(rings[-2], rings[-1])
    end = mesh.add(lips.mean(0) - (0, 0, 0.045))[0]
    mesh.close(rings[-1], end)
    return rings[1:], end
