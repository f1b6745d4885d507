"""Articulated figures with COCO's 17 joints: a pose within human limits, its body of shaded capsules, its picture."""

from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib.colors import hsv_to_rgb
from numpy.random import RandomState

JOINTS = (
    *('nose', 'left_eye', 'right_eye', 'left_ear', 'right_ear', 'left_shoulder', 'right_shoulder'),
    *('left_elbow', 'right_elbow', 'left_wrist', 'right_wrist', 'left_hip', 'right_hip'),
    *('left_knee', 'right_knee', 'left_ankle', 'right_ankle'),
)
# Distance of the body's surface from each joint, in heights of the body. What lies farther in front hides the joint.
DEPTHS = np.array([0.03] * 5 + [0.085] * 2 + [0.05] * 2 + [0.045] * 2 + [0.085] * 2 + [0.065] * 2 + [0.05] * 2)
# Pads at shoulders, elbows, wrists, hips, knees and ankles: radius in heights, and hue. A flipped picture shows a
# figure that there could be, so the sides differ only by what is in front: face and white bib, or hair and black patch.
PADS = ((0.05, 0.08), (0.042, 0.16), (0.034, 0.5), (0.068, 0.62), (0.052, 0.86), (0.04, 0.34))
OVERSAMPLE = 2
# Degrees, (lowest, highest): raised forwards, raised sideways, bent, turned outwards. One kind is drawn per limb.
ARMS = (
    ((-30, 40), (4, 35), (0, 90), (-80, 30)),  # hanging
    ((-20, 30), (45, 165), (0, 110), (-60, 60)),  # out to the side, up to above the head
    ((40, 150), (0, 35), (0, 110), (-70, 20)),  # forwards
)
ARM_CHANCES = (0.5, 0.3, 0.2)
LEGS = (((-12, 15), (0, 14), (0, 15), (0, 0)), ((-20, 85), (0, 40), (0, 110), (-15, 15)))  # standing, lively
LEG_CHANCES = (0.65, 0.35)


class Part(NamedTuple):
    """A capsule from ``start`` to ``end`` (x, y, z) with a radius at each; ``paint`` turns points on it into RGB."""

    start: np.ndarray
    end: np.ndarray
    radii: tuple[float, float]
    paint: Callable[[np.ndarray], np.ndarray]


class Figure(NamedTuple):
    """A picture of a figure, cut out.

    Attributes:
        image: RGB (H, W, 3) float32, 0 to 255.
        opacity: (H, W) float32, 0 to 1.
        joints: (17, 2), x and y in pixels of the picture, where (0, 0) is the centre of its first pixel.
        hidden: (17,) bool, whether the figure's own body is in front of the joint.
    """

    image: np.ndarray
    opacity: np.ndarray
    joints: np.ndarray
    hidden: np.ndarray


def draw_figure(height: float, random: RandomState) -> Figure:
    """A random figure, of any build, clothes and pose, ``height`` pixels tall if it stood upright."""
    joints, frames = pose(random)
    parts = body(joints, frames, random)
    turn = view(random)
    parts = [part._replace(start=turn @ part.start, end=turn @ part.end) for part in parts]
    return _render(parts, joints @ turn.T, turn, height, random)


def rotation(axis: int, degrees: float) -> np.ndarray:
    """Rotation (3, 3) about an axis of the frame x to the right of the image, y down, z towards the viewer."""
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    first, second = [i for i in range(3) if i != axis]
    matrix[[first, second], [first, second]] = cosine
    matrix[first, second], matrix[second, first] = sine, -sine
    return matrix


def view(random: RandomState) -> np.ndarray:
    """From the body to the viewer: seen from the front or from behind, turned by up to 40 degrees, and tilted."""
    turned = random.uniform(-40, 40) + (180 if random.rand() < 0.4 else 0)
    return rotation(2, random.normal(0, 9)) @ rotation(0, random.uniform(-10, 20)) @ rotation(1, turned)


def pose(random: RandomState) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Joints (17, 3) of a body that faces the viewer, in heights of the body, and the frames of its head and torso.

    x points to the body's left, y down, z forwards; the middle of the hips is the origin. A frame (4, 3) is the centre
    and the three axes of a part.
    """
    build = random.uniform(0.9, 1.1, 8)
    torso = (
        rotation(2, random.uniform(-12, 12)) @ rotation(0, random.uniform(-25, 6)) @ rotation(1, random.normal(0, 9))
    )
    neck = torso @ (0, -0.27 * build[0], 0)
    head = torso @ rotation(1, random.uniform(-40, 40)) @ rotation(0, random.uniform(-15, 15))
    radius = 0.075 * build[1]
    centre = neck + torso @ (0, -0.035, 0) + head @ (0, -radius, 0)
    points = np.zeros((17, 3))
    for i, (x, y, z) in enumerate([(0, 0.15, 1.12), (0.36, -0.11, 0.85), (-0.36, -0.11, 0.85), (1, 0, 0), (-1, 0, 0)]):
        points[i] = centre + radius * (head @ (x, y, z))
    for side, left in ((1, 0), (-1, 1)):
        points[5 + left] = neck + torso @ (side * 0.115 * build[2], 0.025, 0)
        points[11 + left] = (side * 0.062 * build[3], 0, 0)
        arm = ARMS[random.choice(len(ARMS), p=ARM_CHANCES)]
        points[[7 + left, 9 + left]] = _limb(points[5 + left], 0.165 * build[4], 0.15 * build[5], side, 1, arm, random)
        leg = LEGS[random.choice(len(LEGS), p=LEG_CHANCES)]
        points[[13 + left, 15 + left]] = _limb(
            points[11 + left], 0.24 * build[6], 0.23 * build[7], side, -1, leg, random
        )
    frames = dict(head=np.vstack([centre, radius * head.T]), torso=np.vstack([torso @ (0, -0.13, 0), torso.T]))
    return points, frames


def _limb(
    start: np.ndarray, upper: float, lower: float, side: int, bends: int, limits: tuple, random: RandomState
) -> list:
    """The two joints of a limb after ``start``; elbows bend forwards (``bends`` 1), knees backwards (-1)."""
    raised, spread, bent, turned = (np.radians(random.uniform(*limit)) for limit in limits)
    along = np.array((side * np.sin(spread), np.cos(spread) * np.cos(raised), np.cos(spread) * np.sin(raised)))
    across = bends * np.array((0, -np.sin(raised), np.cos(raised)))
    across = across * np.cos(turned) + side * bends * np.cross(along, across) * np.sin(turned)
    middle = start + upper * along
    return [middle, middle + lower * (along * np.cos(bent) + across * np.sin(bent))]


def body(joints: np.ndarray, frames: dict[str, np.ndarray], random: RandomState) -> list[Part]:
    """Capsules around the joints, in colours of clothes, skin and hair; front and back of head and torso differ."""
    shirt, trousers, shoes = (_cloth(random) for _ in range(3))
    skin = hsv_to_rgb((random.uniform(0.04, 0.09), random.uniform(0.3, 0.6), random.uniform(0.35, 0.95)))
    hair = hsv_to_rgb((random.uniform(0.02, 0.13), random.uniform(0.2, 0.8), random.uniform(0.05, 0.6)))
    forearm, shin = (cloth if random.rand() < 0.5 else skin for cloth in (shirt, trousers))
    stout = random.uniform(0.9, 1.2)
    neck, hips, head = joints[5:7].mean(0), joints[11:13].mean(0), frames['head'][0]
    radius = np.linalg.norm(frames['head'][1])
    face = _face(frames['head'], skin, hair)
    jersey = _jersey(frames['torso'], shirt)
    forward = np.array((0, 0, 1.0))

    def part(start, end, first, last, colour):
        paint = colour if callable(colour) else lambda points: np.broadcast_to(colour, points.shape)
        return Part(np.asarray(start), np.asarray(end), (first * stout, last * stout), paint)

    parts = [
        part(neck, head, 0.035, 0.035, skin),
        Part(head, head + 0.35 * frames['head'][2], (radius, 0.8 * radius), face),
        Part(joints[0], joints[0], (0.2 * radius,) * 2, part(neck, neck, 0, 0, 0.85 * skin).paint),
        *(Part(ear, ear, (0.28 * radius,) * 2, part(neck, neck, 0, 0, 0.92 * skin).paint) for ear in joints[3:5]),
        part(joints[5], joints[6], 0.045, 0.045, jersey),
        part(neck, hips, 0.06, 0.062, jersey),
        part(joints[11], joints[12], 0.06, 0.06, trousers),
    ]
    pads = [(radius, _pad(hue, random)) for radius, hue in PADS]
    for left in (0, 1):
        shoulder, elbow, wrist, hip, knee, ankle = joints[[i + left for i in (5, 7, 9, 11, 13, 15)]]
        shinbone = (ankle - knee) / np.linalg.norm(ankle - knee)
        toe = forward + (1 - forward @ shinbone) * 0.3 * shinbone - (forward @ shinbone) * shinbone
        parts += [
            part(0.75 * shoulder + 0.25 * neck, 0.8 * hip + 0.2 * hips, 0.052, 0.055, jersey),
            part(shoulder, elbow, 0.04, 0.031, shirt),
            part(elbow, wrist, 0.03, 0.023, forearm),
            part(wrist, wrist + 0.25 * (wrist - elbow), 0.026, 0.022, skin),
            part(hip, knee, 0.058, 0.042, trousers),
            part(knee, ankle, 0.04, 0.028, shin),
            part(ankle + 0.01 * shinbone, ankle + 0.08 * toe, 0.03, 0.024, shoes),
            *(
                part(joint, joint, size, size, colour)
                for joint, (size, colour) in zip((shoulder, elbow, wrist, hip, knee, ankle), pads, strict=True)
            ),
        ]
    return parts


def _cloth(random: RandomState) -> np.ndarray:
    return hsv_to_rgb((random.rand(), random.uniform(0.1, 0.95), random.uniform(0.25, 1)))


def _pad(hue: float, random: RandomState) -> np.ndarray:
    return hsv_to_rgb(((hue + random.uniform(-0.02, 0.02)) % 1, random.uniform(0.85, 1), random.uniform(0.85, 1)))


def _face(frame: np.ndarray, skin: np.ndarray, hair: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Paint of a head: eyes and mouth in front, hair behind and on top."""

    def paint(points: np.ndarray) -> np.ndarray:
        side, down, front = np.moveaxis((points - frame[0]) @ frame[1:].T / (frame[1] @ frame[1]), -1, 0)
        colour = np.where(((front < 0.15) | (down < -0.55))[..., None], hair, skin)
        for eye in (0.38, -0.38):
            distance = np.hypot(side - eye, down + 0.12)
            colour = np.where(((front > 0) & (distance < 0.27))[..., None], 1.0, colour)
            colour = np.where(((front > 0) & (distance < 0.17))[..., None], 0.05, colour)
        mouth = (front > 0) & (np.abs(side) < 0.35) & (np.abs(down - 0.62) < 0.1)
        return np.where(mouth[..., None], (0.6, 0.1, 0.1), colour)

    return paint


def _jersey(frame: np.ndarray, shirt: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Paint of a torso: a white bib in front, a black patch behind."""

    def paint(points: np.ndarray) -> np.ndarray:
        side, down, front = np.moveaxis((points - frame[0]) @ frame[1:].T, -1, 0)
        middle = (np.abs(side) < 0.065) & (np.abs(down) < 0.11)
        return np.where(middle[..., None], np.where((front > 0)[..., None], 0.97, 0.06), shirt)

    return paint


def _render(parts: list[Part], joints: np.ndarray, turn: np.ndarray, height: float, random: RandomState) -> Figure:
    """Look at the parts along z; of each pixel the nearest surface is seen, lit from above."""
    scale = height * OVERSAMPLE
    ends = np.array([end for part in parts for end in (part.start, part.end)])[:, :2] * scale
    radii = np.array([radius for part in parts for radius in part.radii])[:, None] * scale
    corner = np.floor((ends - radii).min(0) / OVERSAMPLE) * OVERSAMPLE - OVERSAMPLE
    width, tall = (np.ceil(((ends + radii).max(0) - corner) / OVERSAMPLE).astype(int) + 1) * OVERSAMPLE
    colour, depth = np.zeros((tall, width, 3)), np.full((tall, width), -np.inf)
    light = np.array((random.uniform(-0.6, 0.6), -0.7, 0.7))
    light /= np.linalg.norm(light)
    for part in parts:
        _draw_part(part, scale, corner, colour, depth, light, turn)
    size = width // OVERSAMPLE, tall // OVERSAMPLE
    seen = np.isfinite(depth).astype(np.float32)
    opacity = cv2.resize(seen, size, interpolation=cv2.INTER_AREA)
    image = cv2.resize((255 * colour).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    image /= np.maximum(opacity, 1e-3)[..., None]
    places = joints[:, :2] * scale - corner
    column, row = places.astype(int).T
    hidden = depth[row, column] / scale - joints[:, 2] > DEPTHS
    return Figure(image, opacity, places / OVERSAMPLE - 0.5, hidden)


def _draw_part(
    part: Part,
    scale: float,
    corner: np.ndarray,
    colour: np.ndarray,
    depth: np.ndarray,
    light: np.ndarray,
    turn: np.ndarray,
) -> None:
    """Draw a part into ``colour`` (H, W, 3) and ``depth`` (H, W), where it is nearer than what is there."""
    start, end = part.start * scale, part.end * scale
    first, last = part.radii[0] * scale, part.radii[1] * scale
    low = np.floor(np.minimum(start[:2] - first, end[:2] - last) - corner).astype(int)
    high = np.ceil(np.maximum(start[:2] + first, end[:2] + last) - corner).astype(int) + 1
    window = np.s_[low[1] : high[1], low[0] : high[0]]
    rows, columns = np.mgrid[window]
    pixels = np.stack([columns, rows], -1) + 0.5 + corner
    axis = end - start
    shares = ((pixels - start[:2]) @ axis[:2] / max(axis[:2] @ axis[:2], 1e-9)).clip(0, 1)
    # Of a limb that points at the viewer, the nearer end covers what the line between the ends says.
    for share in (shares, np.full_like(shares, float(end[2] > start[2]))):
        radius = first + share * (last - first)
        offset = pixels - start[:2] - share[..., None] * axis[:2]
        rise = np.sqrt(np.maximum(radius**2 - (offset**2).sum(-1), 0))
        surface = start[2] + share * axis[2] + rise
        nearer = (rise > 0) & (surface > depth[window])
        points = np.concatenate([pixels, surface[..., None]], -1)[nearer] / scale
        normals = np.concatenate([offset, rise[..., None]], -1)[nearer] / np.maximum(radius[nearer], 1e-9)[:, None]
        shade = 0.5 + 0.5 * np.maximum(normals @ light, 0)
        colour[window][nearer] = part.paint(points @ turn) * shade[:, None]
        depth[window][nearer] = surface[nearer]
