"""Articulated figures with COCO's 17 joints: a random pose within human limits, a body of capsules, and its picture."""

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
# Distance of the body's surface from each joint, in body heights. A surface farther in front hides the joint.
DEPTHS = np.array([0.03] * 5 + [0.085] * 2 + [0.05] * 2 + [0.045] * 2 + [0.085] * 2 + [0.065] * 2 + [0.05] * 2)
# Pads at shoulders, elbows, wrists, hips, knees and ankles: radius in body heights, and hue. Both sides have the same
# pads, so that a mirrored picture shows a possible figure. Front (face, white bib) and back (hair, black patch) differ.
PADS = ((0.05, 0.08), (0.042, 0.16), (0.034, 0.5), (0.068, 0.62), (0.052, 0.86), (0.04, 0.34))
OVERSAMPLE = 2
# Ranges in degrees: raised forwards, raised sideways, bent, turned outwards. One row is drawn per limb.
ARMS = (
    ((-30, 40), (4, 35), (0, 90), (-80, 30)),  # hanging
    ((-20, 30), (45, 165), (0, 110), (-60, 60)),  # out to the side, up to above the head
    ((40, 150), (0, 35), (0, 110), (-70, 20)),  # forwards
)
ARM_CHANCES = (0.5, 0.3, 0.2)
LEGS = (((-12, 15), (0, 14), (0, 15), (0, 0)), ((-20, 85), (0, 40), (0, 110), (-15, 15)))  # standing, lively
LEG_CHANCES = (0.65, 0.35)

# A function from points (N, 3) on a surface to their colours (N, 3), RGB from 0 to 1.
Paint = Callable[[np.ndarray], np.ndarray]


class Capsule(NamedTuple):
    """A capsule with a radius at each end.

    Attributes:
        start: (3,) in body heights.
        end: (3,) in body heights.
        radii: At start and end, in body heights.
        paint: Colour of the surface.
    """

    start: np.ndarray
    end: np.ndarray
    radii: tuple[float, float]
    paint: Paint


class Figure(NamedTuple):
    """A picture of a figure without background.

    Attributes:
        image: (H, W, 3) float32, RGB, 0 to 255.
        opacity: (H, W) float32, 0 to 1.
        joints: (17, 2), x and y in pixels of the picture; (0, 0) is the centre of the first pixel.
        hidden: (17,) bool, True if the figure's own body is in front of the joint.
    """

    image: np.ndarray
    opacity: np.ndarray
    joints: np.ndarray
    hidden: np.ndarray


def draw_figure(height: float, random: RandomState) -> Figure:
    """Draw a figure with random build, clothes and pose.

    Args:
        height: Height in pixels of the figure if it stands upright.
        random: Source of the figure.
    """
    joints, frames = pose(random)
    capsules = body(joints, frames, random)
    turn = view(random)
    capsules = [capsule._replace(start=turn @ capsule.start, end=turn @ capsule.end) for capsule in capsules]
    return render(capsules, joints @ turn.T, turn, height, random)


def rotation(axis: int, degrees: float) -> np.ndarray:
    """Return the rotation matrix (3, 3) about an axis.

    The frame has x to the right of the image, y down, and z towards the viewer.

    Args:
        axis: 0, 1 or 2 for x, y or z.
        degrees: The angle.
    """
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.eye(3)
    first, second = [i for i in range(3) if i != axis]
    matrix[[first, second], [first, second]] = cosine
    matrix[first, second], matrix[second, first] = sine, -sine
    return matrix


def view(random: RandomState) -> np.ndarray:
    """Draw the rotation matrix (3, 3) from the body's frame to the viewer's.

    The body is seen from the front or from behind, turned by up to 40 degrees, and tilted.

    Args:
        random: Source of the view.
    """
    turned = random.uniform(-40, 40) + (180 if random.rand() < 0.4 else 0)
    return rotation(2, random.normal(0, 9)) @ rotation(0, random.uniform(-10, 20)) @ rotation(1, turned)


def pose(random: RandomState) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Draw the pose of a body that faces the viewer.

    x points to the body's left, y down and z forwards. The origin is the middle of the hips.

    Args:
        random: Source of the pose.

    Returns:
        Joints (17, 3) in body heights, and the frames ``head`` and ``torso``, each (4, 3): its centre and three axes.
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
    """Draw the two joints of a limb after ``start``. Elbows bend forwards (``bends`` 1), knees backwards (-1)."""
    raised, spread, bent, turned = (np.radians(random.uniform(*limit)) for limit in limits)
    along = np.array((side * np.sin(spread), np.cos(spread) * np.cos(raised), np.cos(spread) * np.sin(raised)))
    across = bends * np.array((0, -np.sin(raised), np.cos(raised)))
    across = across * np.cos(turned) + side * bends * np.cross(along, across) * np.sin(turned)
    middle = start + upper * along
    return [middle, middle + lower * (along * np.cos(bent) + across * np.sin(bent))]


def body(joints: np.ndarray, frames: dict[str, np.ndarray], random: RandomState) -> list[Capsule]:
    """Draw a body around joints, in colours of clothes, skin and hair. Front and back of head and torso differ.

    Args:
        joints: (17, 3) of ``pose``.
        frames: Those of ``pose``.
        random: Source of build and colours.

    Returns:
        The capsules of the body.
    """
    shirt, trousers, shoes = (_cloth(random) for _ in range(3))
    skin = hsv_to_rgb((random.uniform(0.04, 0.09), random.uniform(0.3, 0.6), random.uniform(0.35, 0.95)))
    hair = hsv_to_rgb((random.uniform(0.02, 0.13), random.uniform(0.2, 0.8), random.uniform(0.05, 0.6)))
    forearm, shin = (cloth if random.rand() < 0.5 else skin for cloth in (shirt, trousers))
    stout = random.uniform(0.9, 1.2)
    neck, hips, head = joints[5:7].mean(0), joints[11:13].mean(0), frames['head'][0]
    radius = float(np.linalg.norm(frames['head'][1]))
    face = _face(frames['head'], skin, hair)
    jersey = _jersey(frames['torso'], shirt)
    forward = np.array((0, 0, 1.0))

    def part(start: np.ndarray, end: np.ndarray, first: float, last: float, colour: np.ndarray | Paint) -> Capsule:
        return Capsule(start, end, (first * stout, last * stout), colour if callable(colour) else _plain(colour))

    capsules = [
        part(neck, head, 0.035, 0.035, skin),
        Capsule(head, head + 0.35 * frames['head'][2], (radius, 0.8 * radius), face),
        Capsule(joints[0], joints[0], (0.2 * radius, 0.2 * radius), _plain(0.85 * skin)),
        *(Capsule(ear, ear, (0.28 * radius, 0.28 * radius), _plain(0.92 * skin)) for ear in joints[3:5]),
        part(joints[5], joints[6], 0.045, 0.045, jersey),
        part(neck, hips, 0.06, 0.062, jersey),
        part(joints[11], joints[12], 0.06, 0.06, trousers),
    ]
    pads = [(radius, _pad(hue, random)) for radius, hue in PADS]
    for left in (0, 1):
        shoulder, elbow, wrist, hip, knee, ankle = joints[[i + left for i in (5, 7, 9, 11, 13, 15)]]
        shinbone = (ankle - knee) / np.linalg.norm(ankle - knee)
        toe = forward + (1 - forward @ shinbone) * 0.3 * shinbone - (forward @ shinbone) * shinbone
        capsules += [
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
    return capsules


def _plain(colour: np.ndarray) -> Paint:
    """Return the paint of one colour (3,)."""
    return lambda points: np.broadcast_to(colour, points.shape)


def _cloth(random: RandomState) -> np.ndarray:
    """Draw a colour of clothes."""
    return hsv_to_rgb((random.rand(), random.uniform(0.1, 0.95), random.uniform(0.25, 1)))


def _pad(hue: float, random: RandomState) -> np.ndarray:
    """Draw a colour close to a hue."""
    return hsv_to_rgb(((hue + random.uniform(-0.02, 0.02)) % 1, random.uniform(0.85, 1), random.uniform(0.85, 1)))


def _face(frame: np.ndarray, skin: np.ndarray, hair: np.ndarray) -> Paint:
    """Return the paint of a head, with eyes and mouth in front, and hair behind and on top."""

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


def _jersey(frame: np.ndarray, shirt: np.ndarray) -> Paint:
    """Return the paint of a torso, with a white bib in front and a black patch behind."""

    def paint(points: np.ndarray) -> np.ndarray:
        side, down, front = np.moveaxis((points - frame[0]) @ frame[1:].T, -1, 0)
        middle = (np.abs(side) < 0.065) & (np.abs(down) < 0.11)
        return np.where(middle[..., None], np.where((front > 0)[..., None], 0.97, 0.06), shirt)

    return paint


def render(capsules: list[Capsule], joints: np.ndarray, turn: np.ndarray, height: float, random: RandomState) -> Figure:
    """Render a body in the viewer's frame, seen along z and lit from above. The nearest surface is visible.

    Args:
        capsules: The capsules of the body.
        joints: (17, 3) in body heights.
        turn: (3, 3), the rotation from the body's frame, in which capsules are painted, to the viewer's.
        height: Height in pixels of the figure if it stands upright.
        random: Source of the light.
    """
    scale = height * OVERSAMPLE
    ends = np.array([end for capsule in capsules for end in (capsule.start, capsule.end)])[:, :2] * scale
    radii = np.array([radius for capsule in capsules for radius in capsule.radii])[:, None] * scale
    corner = np.floor((ends - radii).min(0) / OVERSAMPLE) * OVERSAMPLE - OVERSAMPLE
    width, tall = (np.ceil(((ends + radii).max(0) - corner) / OVERSAMPLE).astype(int) + 1) * OVERSAMPLE
    colour, depth = np.zeros((tall, width, 3)), np.full((tall, width), -np.inf)
    light = np.array((random.uniform(-0.6, 0.6), -0.7, 0.7))
    light /= np.linalg.norm(light)
    for capsule in capsules:
        _draw_capsule(capsule, scale, corner, colour, depth, light, turn)
    size = width // OVERSAMPLE, tall // OVERSAMPLE
    seen = np.isfinite(depth).astype(np.float32)
    opacity = cv2.resize(seen, size, interpolation=cv2.INTER_AREA)
    image = cv2.resize((255 * colour).astype(np.float32), size, interpolation=cv2.INTER_AREA)
    image /= np.maximum(opacity, 1e-3)[..., None]
    places = joints[:, :2] * scale - corner
    column, row = places.astype(int).T
    hidden = depth[row, column] / scale - joints[:, 2] > DEPTHS
    return Figure(image, opacity, places / OVERSAMPLE - 0.5, hidden)


def _draw_capsule(
    capsule: Capsule,
    scale: float,
    corner: np.ndarray,
    colour: np.ndarray,
    depth: np.ndarray,
    light: np.ndarray,
    turn: np.ndarray,
) -> None:
    """Draw a capsule into ``colour`` (H, W, 3) and ``depth`` (H, W), where it is nearer than the earlier ones."""
    start, end = capsule.start * scale, capsule.end * scale
    first, last = capsule.radii[0] * scale, capsule.radii[1] * scale
    low = np.floor(np.minimum(start[:2] - first, end[:2] - last) - corner).astype(int)
    high = np.ceil(np.maximum(start[:2] + first, end[:2] + last) - corner).astype(int) + 1
    window = np.s_[low[1] : high[1], low[0] : high[0]]
    rows, columns = np.mgrid[window]
    pixels = np.stack([columns, rows], -1) + 0.5 + corner
    axis = end - start
    shares = ((pixels - start[:2]) @ axis[:2] / max(axis[:2] @ axis[:2], 1e-9)).clip(0, 1)
    # A limb that points at the viewer is covered by the ball at its nearer end, which is drawn too.
    for share in (shares, np.full_like(shares, float(end[2] > start[2]))):
        radius = first + share * (last - first)
        offset = pixels - start[:2] - share[..., None] * axis[:2]
        rise = np.sqrt(np.maximum(radius**2 - (offset**2).sum(-1), 0))
        surface = start[2] + share * axis[2] + rise
        nearer = (rise > 0) & (surface > depth[window])
        points = np.concatenate([pixels, surface[..., None]], -1)[nearer] / scale
        normals = np.concatenate([offset, rise[..., None]], -1)[nearer] / np.maximum(radius[nearer], 1e-9)[:, None]
        shade = 0.5 + 0.5 * np.maximum(normals @ light, 0)
        colour[window][nearer] = capsule.paint(points @ turn) * shade[:, None]
        depth[window][nearer] = surface[nearer]
