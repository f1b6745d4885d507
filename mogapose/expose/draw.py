"""Pictures of predictions: the crop, its projected joints, the mesh over it, and the mesh from the side."""

import cv2
import numpy as np
import torch

from .mini.render import composite, render
from .models.conventions import FREIHAND_21
from .models.rotation import axis_angle_to_matrix, weak_perspective

PANEL = 320  # height and width of each of the four pictures, in pixels
COLOUR = np.array((126, 176, 226), float)  # of meshes, RGB
LIGHT = (-0.4, -0.6, -1)
STRENGTH = 0.85  # opacity of a mesh over the crop
SIDE_VIEW = 75  # rotation of the mesh to its left in the last picture, in degrees
LINES = [(230, 60, 60), (240, 160, 30), (60, 190, 60), (50, 130, 240), (190, 80, 220)]


def chains(convention: str) -> list[list[int]]:
    """Return the chains of joints to connect by lines, each in a colour of its own.

    Args:
        convention: 'mano', 'flame' or 'smplx'.

    Returns:
        For each chain the indices of its joints, in order.
    """
    if convention == 'mano':
        return [[0, *range(first, first + 4)] for first in range(1, len(FREIHAND_21), 4)]
    start = 5 if convention == 'flame' else 76  # the first of 51 landmarks, which 17 points of the contour follow
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
    """Draw a prediction as four pictures side by side.

    Args:
        crop: (R, R, 3) uint8, RGB, the network's input.
        vertices: (V, 3) in metres.
        joints: (K, 3) in metres.
        camera: (3,), scale and translation of the weak perspective.
        faces: (F, 3) vertex numbers.
        convention: 'mano', 'flame' or 'smplx', the order of the joints.

    Returns:
        (320, 1280, 3) uint8, RGB.
    """
    large = cv2.resize(crop, (PANEL, PANEL), interpolation=cv2.INTER_CUBIC)
    lines = _draw_joints(large, project(joints, camera, PANEL), convention)
    mesh = _draw_mesh(large, vertices, camera, faces, STRENGTH)
    return np.concatenate((large, lines, mesh, _from_the_side(vertices, camera, faces)), 1)


def project(points: np.ndarray, camera: np.ndarray, side: int) -> np.ndarray:
    """Project points to a picture of the crop.

    Args:
        points: (N, 3) in metres.
        camera: (3,), scale and translation of the weak perspective.
        side: Width of the picture in pixels.

    Returns:
        (N, 2), x and y in pixels of the picture.
    """
    crop = weak_perspective(torch.as_tensor(points)[None].double(), torch.as_tensor(camera)[None].double())[0].numpy()
    return (crop + 1) / 2 * (side - 1)


def _draw_mesh(
    picture: np.ndarray, vertices: np.ndarray, camera: np.ndarray, faces: np.ndarray, strength: float = 1.0
) -> np.ndarray:
    points = np.column_stack((project(vertices, camera, PANEL), vertices[:, 2]))
    surface, opacity = render(vertices, points, faces, COLOUR, LIGHT, (PANEL, PANEL))
    return composite(picture, surface, opacity, strength)


def _from_the_side(vertices: np.ndarray, camera: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Draw the mesh on white, turned about the vertical axis, and as large as in the crop if there is room."""
    turn = axis_angle_to_matrix(torch.tensor((0, np.deg2rad(SIDE_VIEW), 0), dtype=torch.float64)).numpy()
    middle = (vertices.max(0) + vertices.min(0)) / 2
    turned = (vertices - middle) @ turn.T
    scale = min(float(camera[0]), 0.95 / np.abs(turned[:, :2]).max())
    return _draw_mesh(np.full((PANEL, PANEL, 3), 255.0), turned, np.array((scale, 0, 0)), faces)


def _draw_joints(picture: np.ndarray, joints: np.ndarray, convention: str) -> np.ndarray:
    picture = picture.copy()
    # OpenCV takes coordinates in sixteenths of a pixel (shift=4).
    places = np.rint(joints * 16).astype(int)
    for number, chain in enumerate(chains(convention)):
        colour = LINES[number % len(LINES)]
        cv2.polylines(picture, [places[chain]], False, colour, 2, cv2.LINE_AA, shift=4)
        for place in places[chain]:
            cv2.circle(picture, (int(place[0]), int(place[1])), 3 * 16, colour, -1, cv2.LINE_AA, shift=4)
    return picture
