"""Triangle meshes for the synthetic body models: building from rings, smoothing, renumbering, pose corrections."""

import numpy as np


class MeshBuilder:
    """Builds a mesh ring by ring.

    A ring is a list of vertex numbers. ``bridge`` and ``close`` join rings with triangles. The triangles face outwards
    if the rings run counter-clockwise, seen from the side towards which the mesh grows.

    Attributes:
        size: Number of vertices.
    """

    def __init__(self) -> None:
        self._points: list[np.ndarray] = []
        self._triangles: list[tuple[int, int, int]] = []
        self.size = 0

    def add(self, points: np.ndarray) -> list[int]:
        """Add vertices (N, 3) and return their numbers."""
        points = np.atleast_2d(np.asarray(points, float))
        self._points.append(points)
        self.size += len(points)
        return list(range(self.size - len(points), self.size))

    @property
    def vertices(self) -> np.ndarray:
        """The vertices (V, 3)."""
        return np.concatenate(self._points)

    @property
    def faces(self) -> np.ndarray:
        """The triangles (F, 3) of vertex numbers."""
        return np.array(self._triangles)

    def bridge(self, lower: list[int], upper: list[int], skip: tuple[int, ...] = ()) -> None:
        """Join two closed rings of any sizes with triangles.

        Args:
            lower: The first ring.
            upper: The next ring, towards which the mesh grows.
            skip: Numbers of quads to leave open, for rings of equal size.
        """
        m, n = len(lower), len(upper)
        i = j = 0
        while i < m or j < n:
            a, b = lower[i % m], upper[j % n]
            # The next triangle advances the ring that is behind.
            if i * n <= j * m and i < m:
                triangle = (a, lower[(i + 1) % m], b)
                quad, i = i, i + 1
            else:
                triangle = (a, upper[(j + 1) % n], b)
                quad, j = j, j + 1
            if quad not in skip:
                self._triangles.append(triangle)

    def close(self, ring: list[int], pole: int) -> None:
        """Join a ring to one vertex beyond it, ``pole``, with triangles."""
        self._triangles.extend((a, b, pole) for a, b in zip(ring, ring[1:] + ring[:1], strict=True))


def smoothed(values: np.ndarray, faces: np.ndarray, rounds: int, fixed: list[int] | tuple = ()) -> np.ndarray:
    """Move values of vertices half-way to the mean of their neighbours, several times.

    Args:
        values: (V, C), such as positions or weights.
        faces: (F, 3) vertex numbers.
        rounds: Number of repetitions.
        fixed: Vertices whose values do not change.

    Returns:
        (V, C) float64.
    """
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = np.unique(np.concatenate([edges, edges[:, ::-1]]), axis=0)
    counts = np.bincount(edges[:, 0], minlength=len(values)).clip(min=1)[:, None]
    result = np.array(values, float)
    for _ in range(rounds):
        sums = np.zeros_like(result)
        np.add.at(sums, edges[:, 0], result[edges[:, 1]])
        new = 0.5 * result + 0.5 * sums / counts
        new[list(fixed)] = result[list(fixed)]
        result = new
    return result


def smoothstep(x: np.ndarray) -> np.ndarray:
    """Return a smooth step of each value: 0 below 0, 1 above 1, cubic between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def cross_2d(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Return the cross products (...) of vectors (..., 2)."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def reordered(numbers: dict[int, int], count: int) -> np.ndarray:
    """Return a permutation that gives some vertices new numbers; other vertices keep theirs if possible.

    Args:
        numbers: New number of each vertex by its old number.
        count: Number of vertices.

    Returns:
        ``order`` (count,) with ``order[new] == old``.
    """
    order = np.arange(count)
    for old, new in numbers.items():
        place = int(np.flatnonzero(order == old)[0])
        order[[place, new]] = order[[new, place]]
    return order


def pose_blend_shapes(weights: np.ndarray, parents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draw pose corrections of up to 2 mm per unit of rotation. They act around each joint and nowhere else.

    Args:
        weights: (V, J) skinning weights.
        parents: (J,) parent of each joint.
        rng: Source of the directions.

    Returns:
        (V, 3, 9 (J - 1)) in metres.
    """
    joints = weights.shape[1]
    around = 4 * weights[:, 1:] * weights[:, parents[1:]]
    directions = rng.normal(size=(joints - 1, 9, 3))
    directions *= 0.002 / np.linalg.norm(directions, axis=-1, keepdims=True)
    return np.einsum('vj,jkc->vcjk', around, directions).reshape(len(weights), 3, -1)
