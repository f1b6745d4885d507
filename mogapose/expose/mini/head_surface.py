"""A head with FLAME's sizes: rings from the neck to the crown with the features of a face pushed out and in.

The mouth is a slit between two rows of vertices with a pocket behind it, the eyes are two balls in their sockets. Its
frame is FLAME's: x to the person's left, y up, z out of the face; metres, the middle between the eyes near the origin.
"""

import numpy as np

from .meshes import MeshBuilder, smoothstep

COLUMNS, ROWS = 60, 70
MOUTH_ROW, MOUTH_HALF = 24, 7  # the row of the lips' line; columns to each side of the middle
POCKET_ROWS = 3
EYE_RINGS, EYE_COLUMNS = 15, 24
EYE = np.array((0.0315, 0.0, 0.0525))
EYE_RADIUS = 0.0135
MOUTH_Y = -0.072

# Outline of the head: row, then y and z in front, x and y at the side, y and z behind.
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
MIDDLE_Z = np.array(((0, -0.020), (10, -0.018), (24, -0.010), (44, -0.012), (70, -0.008)))


def column_angles() -> np.ndarray:
    """Angles (60,) of the columns, 0 in front and positive to the person's left, closer in front than behind."""
    turn = np.linspace(-np.pi, np.pi, COLUMNS, endpoint=False)
    return turn - 0.62 * np.sin(turn)


def _smooth_table(rows: np.ndarray, table: np.ndarray) -> np.ndarray:
    """Columns of a table of rows at other rows, without corners."""
    fine = np.linspace(rows[0] - 2, rows[-1] + 2, 60 * 8)
    values = np.stack([np.interp(fine, table[:, 0], column) for column in table[:, 1:].T], 1)
    kernel = np.hanning(23)
    kernel /= kernel.sum()
    padded = np.pad(values, ((11, 11), (0, 0)), mode='edge')
    values = np.stack([np.convolve(column, kernel, 'valid') for column in padded.T], 1)
    return np.stack([np.interp(rows, fine, column) for column in values.T], 1)


def _skin(rows: np.ndarray) -> np.ndarray:
    """Vertices (rows, 60, 3) of the bare skull."""
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
    """A smooth hill over the front of the face, on both sides of the middle."""
    across = np.abs(points[..., 0]) if both else points[..., 0]
    hill = np.exp(-(((across - x) / wide) ** 2) - ((points[..., 1] - y) / high) ** 2)
    return hill * smoothstep(points[..., 2] / 0.04)


def _features(points: np.ndarray) -> np.ndarray:
    """The same vertices with nose, brows, sockets, cheeks, lips, chin and ears."""
    out = np.zeros_like(points)
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    front = smoothstep(z / 0.04)
    # The nose: a ridge that rises from between the eyes to its tip and ends at once below it.
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


def _ball(surface: MeshBuilder, centre: np.ndarray) -> list[int]:
    """An eye: a ball whose poles lie in front and behind."""
    polar = np.linspace(0, np.pi, EYE_RINGS + 2)[1:-1]
    around = np.linspace(0, 2 * np.pi, EYE_COLUMNS, endpoint=False)
    first, ring = surface.size, None
    for angle in polar[::-1]:
        flat = np.stack((np.cos(around), np.sin(around), np.zeros(EYE_COLUMNS)), 1) * np.sin(angle)
        new = surface.add(centre + EYE_RADIUS * (flat + (0, 0, np.cos(angle))))
        if ring is None:
            back = surface.add(centre - (0, 0, EYE_RADIUS))[0]
            surface.close(new[::-1], back)
        else:
            surface.bridge(ring, new)
        ring = new
    surface.close(ring, surface.add(centre + (0, 0, EYE_RADIUS))[0])
    return list(range(first, surface.size))


def build() -> dict:
    """The surface with what its numbering is known by.

    Returns:
        ``surface``; ``grid`` (70, 60) vertex numbers of the skin, row ``MOUTH_ROW`` being the lower lip; ``upper``, the
        upper lip between the corners; ``rim``, both lips; ``pocket`` (3, 28), the inside of the mouth behind the rim,
        and ``end`` of it; ``crown``; ``eyes``, left and right.
    """
    surface = MeshBuilder()
    points = _features(_skin(np.arange(ROWS)))
    grid = [surface.add(row) for row in points]
    middle = COLUMNS // 2
    slit = range(middle - MOUTH_HALF, middle + MOUTH_HALF + 1)
    upper_row = list(grid[MOUTH_ROW])
    for column in slit[1:-1]:
        upper_row[column] = surface.add(points[MOUTH_ROW, column])[0]
    for row in range(ROWS - 1):
        surface.bridge(upper_row if row == MOUTH_ROW else grid[row], grid[row + 1])
    crown = surface.add(_skin(np.array([ROWS]))[0, 0])[0]
    surface.close(grid[-1], crown)
    upper = [upper_row[column] for column in slit[1:-1]]
    rim = [*(grid[MOUTH_ROW][column] for column in slit), *upper[::-1]]
    pocket, end = _pocket(surface, rim, upper)
    return dict(
        surface=surface,
        grid=np.array(grid),
        upper=upper,
        rim=rim,
        pocket=np.array(pocket),
        end=end,
        crown=crown,
        eyes=[_ball(surface, EYE), _ball(surface, EYE * (-1, 1, 1))],
    )


def _pocket(surface: MeshBuilder, rim: list[int], upper: list[int]) -> tuple[list[list[int]], int]:
    """The inside of the mouth: rings from the lips backwards, wider than the closed lips, and its end."""
    pocket, ring, lips = [], rim, surface.vertices[rim]
    side = np.where(np.isin(rim, upper), 1, -1) * (1 - (lips[:, 0] / np.abs(lips[:, 0]).max()) ** 2)
    for step in range(1, POCKET_ROWS + 1):
        depth = step / (POCKET_ROWS + 1)
        new = lips * (1 - 0.3 * depth, 1, 1) + (0, 0, -0.045 * depth)
        new[:, 1] += 0.012 * np.sin(np.pi * depth) * side
        new = surface.add(new)
        surface.bridge(ring, new)
        pocket, ring = [*pocket, new], new
    end = surface.add(lips.mean(0) - (0, 0, 0.045))[0]
    surface.close(ring, end)
    return pocket, end
