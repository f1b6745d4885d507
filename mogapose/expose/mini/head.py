"""A synthetic head with the sizes and arrays of FLAME: skinning weights, shape, expression and landmarks."""

import numpy as np

from .head_surface import COLUMNS, EYE, MOUTH_HALF, MOUTH_ROW, MOUTH_Y, ROWS, build_head, bump, column_angles
from .meshes import cross_2d, pose_blend_shapes, smoothed, smoothstep

NUM_SHAPE, NUM_EXPRESSION = 300, 100
# Further columns are zero: no recipe uses them, and the file stays small.
USED_SHAPE, USED_EXPRESSION = 100, 50


class Head:
    """The synthetic head.

    Args:
        rng: Source of the unnamed shapes and expressions, and of the pose corrections.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        surface = build_head()
        self.surface, self.faces = surface, surface.mesh.faces
        fixed = [*surface.rim, *surface.eyes[0], *surface.eyes[1], *surface.grid[0]]
        self.vertices = smoothed(surface.mesh.vertices, self.faces, 1, fixed=fixed)
        self.skin = np.array([*surface.grid.ravel(), *surface.upper, surface.crown])
        self.rng = rng

    def arrays(self) -> dict[str, np.ndarray]:
        """Return the arrays of a FLAME file, landmarks included."""
        weights = self._weights()
        parents = np.array((0, 0, 1, 1, 1))
        shapedirs = np.zeros((len(self.vertices), 3, NUM_SHAPE + NUM_EXPRESSION))
        shapedirs[..., :USED_SHAPE] = np.stack(self._shapes(), -1)
        shapedirs[..., NUM_SHAPE : NUM_SHAPE + USED_EXPRESSION] = np.stack(self._expressions(), -1)
        faces_idx, bary = self._landmarks()
        contour_faces, contour_bary = self._contour()
        return dict(
            v_template=self.vertices,
            shapedirs=shapedirs,
            posedirs=pose_blend_shapes(weights, parents, self.rng),
            J_regressor=self._regressor(),
            weights=weights,
            kintree_table=np.stack((np.array((2**32 - 1, 0, 1, 1, 1)), np.arange(5))),
            f=self.faces,
            lmk_faces_idx=faces_idx,
            lmk_bary_coords=bary,
            dynamic_lmk_faces_idx=contour_faces,
            dynamic_lmk_bary_coords=contour_bary,
        )

    def _weights(self) -> np.ndarray:
        """Return the skinning weights (V, 5)."""
        jaw: np.ndarray = np.zeros(len(self.vertices))
        rows, columns = np.mgrid[:ROWS, :COLUMNS]
        angle = np.abs(column_angles())[None]
        grid = self.surface.grid
        points = self.vertices[grid]
        corner = COLUMNS // 2 + MOUTH_HALF
        below = points[MOUTH_ROW, :, 1][None] - points[..., 1]
        beside = np.clip(np.abs(points[..., 0]) - points[MOUTH_ROW, corner, 0], 0, None)
        # The edge is hard between the lips and becomes softer towards the ears.
        band = 0.004 + 0.45 * beside
        opened = np.where(
            np.abs(columns - COLUMNS // 2) < MOUTH_HALF, rows <= MOUTH_ROW, smoothstep(below / band / 2 + 0.5)
        )
        jaw[grid] = opened * smoothstep((rows - 8) / 7) * (1 - smoothstep((angle - 0.75) / 0.85))
        jaw[self.surface.upper] = 0
        jaw = smoothed(jaw[:, None], self.faces, 2, fixed=self.surface.rim)[:, 0]
        self._follow_rim(jaw[:, None], 0.5)
        jaw[self.surface.pocket_end] = 0.5
        above = np.ones(len(self.vertices))
        above[grid] = smoothstep((rows - 2) / 10)
        weights = np.stack((1 - above, above * (1 - jaw), above * jaw, np.zeros_like(jaw), np.zeros_like(jaw)), 1)
        for joint, eye in zip((3, 4), self.surface.eyes, strict=True):
            weights[eye] = np.eye(5)[joint]
        return weights

    def _regressor(self) -> np.ndarray:
        """Return the joint regressor (5, V).

        Root and neck are the middles of rings, the jaw lies between the ears, each eye in the middle of its ball.
        """
        grid = self.surface.grid
        regressor = np.zeros((5, len(self.vertices)))
        regressor[0, grid[3]] = regressor[1, grid[9]] = 1
        ears = [int(np.abs(column_angles() - side * 1.25).argmin()) for side in (-1, 1)]
        regressor[2, grid[28:33][:, ears]] = 1
        for joint, eye in zip((3, 4), self.surface.eyes, strict=True):
            regressor[joint, eye] = 1
        return regressor / regressor.sum(1, keepdims=True)

    def _follow_rim(self, values: np.ndarray, at_end: float | np.ndarray = 0.0) -> None:
        """Interpolate values (V, C) inside the mouth between those of the lips and ``at_end``, in place."""
        for step, ring in enumerate(self.surface.pocket, start=1):
            depth = step / (len(self.surface.pocket) + 1)
            values[ring] = (1 - depth) * values[self.surface.rim] + depth * at_end

    def _with_eyes_and_mouth(self, displacement: np.ndarray, move_eyes: bool) -> np.ndarray:
        """Return a displacement (V, 3) in which the eyes are rigid and the inside of the mouth follows the lips."""
        result = displacement.copy()
        for eye in self.surface.eyes:
            result[eye] = displacement[eye].mean(0) if move_eyes else 0
        middle = result[self.surface.rim].mean(0)
        self._follow_rim(result, middle)
        result[self.surface.pocket_end] = middle
        return result

    def _shapes(self) -> list[np.ndarray]:
        """Return the displacements (V, 3) of each shape coefficient per standard deviation.

        Size and proportions come first, then features, then unnamed ripples of decreasing size.
        """
        p = self.vertices
        lower = smoothstep((0.02 - p[:, 1]) / 0.12)
        neck = smoothstep((p[:, 1] + 0.15) / 0.05)
        x, y, z = np.eye(3)
        side = np.clip(p[:, 0] / 0.012, -1, 1)
        named = [
            0.035 * p,
            0.045 * p * x,
            0.006 * np.outer(lower, -y),
            0.05 * p * z,
            0.07 * np.outer(p[:, 0] * lower * neck, x),
            0.0045 * np.outer(bump(p, 0, -0.035, 0.012, 0.018), z),
            0.0025 * np.outer(side * bump(p, 0.011, -0.038, 0.010, 0.012), x),
            0.0025 * np.outer(side * bump(p, EYE[0], 0, 0.024, 0.02), x),
            0.0035 * np.outer(bump(p, 0.025, 0.024, 0.03, 0.012), z),
            0.0040 * np.outer(bump(p, 0.042, -0.03, 0.022, 0.02), z),
            0.0050 * np.outer(bump(p, 0, -0.108, 0.025, 0.016), z),
            0.0030 * np.outer(side * bump(p, 0.022, MOUTH_Y, 0.016, 0.014), x),
            0.0025 * np.outer(bump(p, 0, MOUTH_Y, 0.022, 0.012), z),
            0.0030 * np.outer(bump(p, 0, -0.04, 0.02, 0.016), -y),
        ]
        ripples = [self._ripple(0.0020 * 4 / (4 + k)) for k in range(USED_SHAPE - len(named))]
        return [self._with_eyes_and_mouth(field, move_eyes=True) for field in named + ripples]

    def _expressions(self) -> list[np.ndarray]:
        """Return the displacements (V, 3) of each expression coefficient per standard deviation.

        They move lips, corners of the mouth, brows, cheeks and nose; unnamed ripples follow.
        """
        p = self.vertices
        x, y, z = np.eye(3)
        side = np.clip(p[:, 0] / 0.012, -1, 1)
        lower = np.zeros(len(p))
        lower[self.surface.grid[: MOUTH_ROW + 1]] = 1
        upper = 1 - lower
        # The corners belong to both lips.
        mouth_corners = [self.surface.rim[0], self.surface.rim[2 * MOUTH_HALF]]
        lower[mouth_corners] = upper[mouth_corners] = 0
        lips, corners = bump(p, 0, MOUTH_Y, 0.022, 0.018), bump(p, 0.024, MOUTH_Y, 0.014, 0.014)
        left = bump(p, 0.024, MOUTH_Y, 0.014, 0.014, both=False)
        brows, inner = bump(p, 0.03, 0.026, 0.026, 0.014), bump(p, 0.014, 0.024, 0.012, 0.012)
        cheeks = bump(p, 0.042, -0.035, 0.02, 0.02)
        named = [
            np.outer(lips * lower, -0.0045 * y) + np.outer(lips * upper, 0.0020 * y),
            np.outer(side * corners, 0.0040 * x)
            + np.outer(corners, 0.0040 * y - 0.002 * z)
            + np.outer(cheeks, 0.002 * z),
            np.outer(brows, 0.0040 * y),
            np.outer(inner, -0.003 * y + 0.001 * z) + np.outer(side * inner, -0.002 * x),
            -0.12 * p * x * lips[:, None] + np.outer(lips, 0.0040 * z),
            np.outer(cheeks, 0.0045 * z) + np.outer(side * cheeks, 0.002 * x),
            np.outer(corners, -0.004 * y),
            np.outer(bump(p, 0.012, -0.03, 0.012, 0.016), 0.003 * y),
            np.outer(lips + corners, 0.003 * x),
            np.outer(left, 0.003 * x + 0.003 * y),
            np.outer(lips * upper, 0.003 * y + 0.001 * z),
            np.outer(lips * lower, -0.003 * y - 0.001 * z),
        ]
        face = smoothstep(p[:, 2] / 0.05) * smoothstep((p[:, 1] + 0.115) / 0.03)
        ripples = [face[:, None] * self._ripple(0.0016 * 4 / (4 + k)) for k in range(USED_EXPRESSION - len(named))]
        return [self._with_eyes_and_mouth(field, move_eyes=False) for field in named + ripples]

    def _ripple(self, amplitude: float) -> np.ndarray:
        """Draw a smooth displacement (V, 3), a wave over the head with a length of 12 to 25 cm."""
        direction, wave = self.rng.normal(size=3), self.rng.normal(size=3)
        wave *= 2 * np.pi / self.rng.uniform(0.12, 0.25) / np.linalg.norm(wave)
        phase = self.rng.uniform(0, 2 * np.pi)
        return np.outer(np.sin(self.vertices @ wave + phase), amplitude * direction / np.linalg.norm(direction))

    def _locate(self, x: float, y: float) -> tuple[int, np.ndarray]:
        """Return the foremost triangle of the skin at (x, y) and the point's barycentric coordinates (3,) in it."""
        corners = self.vertices[self.faces]
        skin = np.isin(self.faces, self.skin).all(1)
        a, b, c = corners[:, 0, :2], corners[:, 1, :2], corners[:, 2, :2]
        area = cross_2d(b - a, c - a)
        point = np.array((x, y))
        with np.errstate(divide='ignore', invalid='ignore'):
            areas = (cross_2d(b - point, c - point), cross_2d(c - point, a - point), cross_2d(a - point, b - point))
            bary = np.stack(areas, 1) / area[:, None]
        inside = np.flatnonzero((bary >= -1e-9).all(1) & skin)
        face = inside[(corners[inside, :, 2] * bary[inside]).sum(1).argmax()]
        return int(face), bary[face]

    def _vertex(self, vertex: int) -> tuple[int, np.ndarray]:
        """Return a triangle of a vertex and the vertex's barycentric coordinates (3,) in it."""
        face, corner = np.argwhere(self.faces == vertex)[0]
        return int(face), np.eye(3)[corner]

    def _landmarks(self) -> tuple[np.ndarray, np.ndarray]:
        """Return triangles (51,) and barycentric coordinates (51, 3) of the last 51 of the usual 68 landmarks."""
        surface = self.surface
        brow = [(0.050, 0.018), (0.042, 0.025), (0.033, 0.028), (0.023, 0.027), (0.013, 0.023)]
        eye = [(0.047, 0), (0.038, 0.007), (0.027, 0.007), (0.0165, 0), (0.027, -0.007), (0.038, -0.007)]
        places = [(-x, y) for x, y in brow] + brow[::-1]
        places += [(0, y) for y in (0.008, -0.008, -0.024, -0.040)]
        places += [(x, -0.050 - 0.02 * abs(x)) for x in (-0.014, -0.007, 0, 0.007, 0.014)]
        places += [(-x, y) for x, y in eye] + [eye[k] for k in (3, 2, 1, 0, 5, 4)]
        points = [self._locate(x, y) for x, y in places]
        lower = surface.rim[: 2 * MOUTH_HALF + 1]
        upper = [lower[0], *surface.upper, lower[-1]]
        right, left = self._vertex(lower[0]), self._vertex(lower[-1])
        # Outer edge of the lips: x, and the distance above or below the line between the lips.
        outer = 0.010
        above = ((-0.012, 0.8 * outer), (-0.005, outer), (0, outer), (0.005, outer), (0.012, 0.8 * outer))
        below = ((0.012, outer), (0.006, 1.3 * outer), (0, 1.4 * outer), (-0.006, 1.3 * outer), (-0.012, outer))
        points += [right, *(self._locate(x, MOUTH_Y + height) for x, height in above), left]
        points += [self._locate(x, MOUTH_Y - depth) for x, depth in below]
        steps = (MOUTH_HALF - 4, MOUTH_HALF, MOUTH_HALF + 4)
        points += [right, *(self._vertex(upper[k]) for k in steps)]
        points += [left, *(self._vertex(lower[k]) for k in steps[::-1])]
        return np.array([face for face, _ in points]), np.array([bary for _, bary in points])

    def _contour(self) -> tuple[np.ndarray, np.ndarray]:
        """Return triangles (79, 17) and barycentric coordinates (79, 17, 3) of the contour for each turn of the head.

        The contour runs from the right ear over the chin to the left ear.
        """
        half = np.deg2rad((80, 72, 64, 55, 45, 34, 22, 11))
        angles = np.concatenate((-half, (0,), half[::-1]))
        rows = np.array((33, 30, 27, 24, 21, 19, 18, 17, 17, 17, 18, 19, 21, 24, 27, 30, 33))
        table = np.arange(79)
        # Rows 1 to 39 are turns towards -y, which is to the right; further rows are turns to the left.
        turns = np.deg2rad(np.where(table <= 39, -table, table - 39))
        columns = column_angles()
        shifted = angles[None] - turns[:, None] * np.abs(angles)[None] / half[0]
        place = np.interp(shifted, columns, np.arange(COLUMNS))
        column = np.floor(place).astype(int)
        share = place - column
        # The first triangles of the mesh are those between the rings of the skin, two per column.
        faces = rows[None] * 2 * COLUMNS + 2 * column
        return faces, np.stack((1 - share, share, np.zeros_like(share)), -1)
