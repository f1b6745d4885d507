"""Pictures for people: the crop, its projected joints, the mesh over it, and the mesh from another side."""

import cv2
import numpy as np
import torch

from .mini.render import composite, render
from .models.conventions import FREIHAND_21
from .models.rotation import axis_angle_to_matrix, weak_perspective

PANEL = 320  # pixels, of each of the four pictures in a row
COLOUR = np.array((126, 176, 226), float)  # of meshes, RGB
LIGHT = (-0.4, -0.6, -1)
STRENGTH = 0.85  # how much of the picture a mesh hides
SIDE_VIEW = 75  # degrees by which the last panel turns the mesh to its left
LINES = [(230, 60, 60), (240, 160, 30), (60, 190, 60), (50, 130, 240), (190, 80, 220)]


def _chains(convention: str) -> list[list[int]]:
    """Joints that are joined by lines, one colour for each chain."""
    if convention == 'mano':
        return [[0, *range(first, first + 4)] for first in range(1, len(FREIHAND_21), 4)]
    start = 5 if convention == 'flame' else 76  # of the 51 landmarks, which the 17 points of the contour follow
    pieces = ((0, 5), (5, 10), (10, 14), (14, 19), (19, 25), (25, 31), (31, 43), (43, 51), (51, 68))
    closed = {19, 25, 31, 43}
    return [[*range(start + a, start + b), *([start + a] if a in closed else [])] for a, b in pieces]


def draw_body(
    crop: np.ndarray,
    vertices: np.ndarray,
    joints: np.ndarray,
    camera: np.ndarray,
    faces: np.ndarray,
    convention: str,
) -> np.ndarray:
    """Four pictures side by side, (320, 1280, 3) uint8.

    Args:
        crop: RGB, (R, R, 3) uint8, what the network saw.
        vertices: (V, 3) metres.
        joints: (K, 3) metres.
        camera: (3,) scale and translation of the weak perspective.
        faces: (F, 3) vertex numbers.
        convention: 'mano', 'flame' or 'smplx': how the joints are joined.
    """
    large = cv2.resize(crop, (PANEL, PANEL), interpolation=cv2.INTER_CUBIC)
    lines = _draw_joints(large, project(joints, camera, PANEL), convention)
    mesh = _draw_mesh(large, vertices, camera, faces, STRENGTH)
    return np.concatenate((large, lines, mesh, _from_the_side(vertices, camera, faces)), 1)


def project(points: np.ndarray, camera: np.ndarray, side: int) -> np.ndarray:
    """Pixels (N, 2) of points (N, 3) in a picture of the crop, ``side`` pixels wide."""
    crop = weak_perspective(torch.as_tensor(points)[None].double(), torch.as_tensor(camera)[None].double())[0].numpy()
    return (crop + 1) / 2 * (side - 1)


def _draw_mesh(
    picture: np.ndarray, vertices: np.ndarray, camera: np.ndarray, faces: np.ndarray, strength: float = 1.0
) -> np.ndarray:
    points = np.column_stack((project(vertices, camera, PANEL), vertices[:, 2]))
    surface, opacity = render(vertices, points, faces, COLOUR, LIGHT, (PANEL, PANEL))
    return composite(picture, surface, opacity, strength)


def _from_the_side(vertices: np.ndarray, camera: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """The mesh on white, as large as in the crop, turned about the vertical axis through its middle."""
    turn = axis_angle_to_matrix(torch.tensor((0, np.deg2rad(SIDE_VIEW), 0), dtype=torch.float64)).numpy()
    middle = (vertices.max(0) + vertices.min(0)) / 2
    turned = (vertices - middle) @ turn.T
    scale = min(float(camera[0]), 0.95 / np.abs(turned[:, :2]).max())  # or as large as there is room
    return _draw_mesh(np.full((PANEL, PANEL, 3), 255.0), turned, np.array((scale, 0, 0)), faces)


def _draw_joints(picture: np.ndarray, joints: np.ndarray, convention: str) -> np.ndarray:
    picture = picture.copy()
    # Fractions of a pixel, in sixteenths.
    places = np.rint(joints * 16).astype(int)
    for number, chain in enumerate(_chains(convention)):
        colour = LINES[number % len(LINES)]
        cv2.polylines(picture, [places[chain]], False, colour, 2, cv2.LINE_AA, shift=4)
        for place in places[chain]:
            cv2.circle(picture, tuple(map(int, place)), 3 * 16, colour, -1, cv2.LINE_AA, shift=4)
    return picture
