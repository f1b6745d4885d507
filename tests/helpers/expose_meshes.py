"""Meshes whose pictures can be computed by a formula."""

import numpy as np

# A square from (2, 3) to (8, 7), two triangles, one unit away; normals towards the viewer.
SQUARE = np.array([[2, 3, 1], [8, 3, 1], [8, 7, 1], [2, 7, 1]], float)
HALVES = np.array([[0, 2, 1], [0, 3, 2]])


def ball(radius, rings=24, columns=48):
    """Vertices and faces of a ball about the origin, faces counter-clockwise seen from outside."""
    polar, around = np.mgrid[: rings + 1, :columns]
    polar, around = polar * np.pi / rings, around * 2 * np.pi / columns
    points = np.stack((np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)), -1)
    number = np.arange(points[..., 0].size).reshape(polar.shape)
    a, b = number[:-1], number[1:]
    c, d = np.roll(b, -1, 1), np.roll(a, -1, 1)
    faces = np.concatenate((np.stack((a, b, c), -1).reshape(-1, 3), np.stack((a, c, d), -1).reshape(-1, 3)))
    return radius * points.reshape(-1, 3), faces
