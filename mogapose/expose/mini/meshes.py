"""Closed triangle surfaces put together from rings of vertices, for the synthetic body models."""

import numpy as np


class MeshBuilder:
    """Vertices and triangles, added ring by ring.

    Rings are lists of vertex numbers; ``bridge`` and ``close`` join them so that the triangles face outwards where
    rings run counter-clockwise as seen from the side towards which the surface grows.
    """

    def __init__(self) -> None:
        self._points: list[np.ndarray] = []
        self._triangles: list[tuple[int, int, int]] = []
        self.size = 0

    def add(self, points: np.ndarray) -> list[int]:
        """New vertices (N, 3); returns their numbers."""
        points = np.atleast_2d(np.asarray(points, float))
        self._points.append(points)
        self.size += len(points)
        return list(range(self.size - len(points), self.size))

    @property
    def vertices(self) -> np.ndarray:
        return np.concatenate(self._points)

    @property
    def faces(self) -> np.ndarray:
        return np.array(self._triangles)

    def bridge(self, lower: list[int], upper: list[int], skip: tuple[int, ...] = ()) -> None:
        """Join two closed rings of any sizes. Of rings of equal sizes the quads numbered in ``skip`` are left out."""
        m, n = len(lower), len(upper)
        i = j = 0
        while i < m or j < n:
            a, b = lower[i % m], upper[j % n]
            # The diagonal goes where the ring that lags behind gets on.
            if i * n <= j * m and i < m:
                triangle = (a, lower[(i + 1) % m], b)
                quad, i = i, i + 1
            else:
                triangle = (a, upper[(j + 1) % n], b)
                quad, j = j, j + 1
            if quad not in skip:
                self._triangles.append(triangle)

    def close(self, ring: list[int], pole: int) -> None:
        """Triangles from a ring to one vertex beyond it."""
        self._triangles.extend((a, b, pole) for a, b in zip(ring, ring[1:] + ring[:1], strict=True))


def smoothed(values: np.ndarray, faces: np.ndarray, rounds: int, fixed: list[int] | tuple = ()) -> np.ndarray:
    """Per-vertex values (V, C) moved half-way to their neighbours' mean, several times; ``fixed`` ones stay."""
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
    """0 up to 0, 1 from 1 on, smooth between."""
    x = np.clip(x, 0, 1)
    return x * x * (3 - 2 * x)


def with_tips_at(numbers: dict[int, int], count: int) -> np.ndarray:
    """A permutation ``order`` with ``order[wanted] == present`` for each pair; other vertices stay if they can.

    Args:
        numbers: Wanted number of each vertex by its present number.
    """
    order = np.arange(count)
    for present, wanted in numbers.items():
        at = int(np.flatnonzero(order == present)[0])
        order[[at, wanted]] = order[[wanted, at]]
    return order
