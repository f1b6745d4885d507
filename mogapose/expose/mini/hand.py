"""A synthetic right hand with the sizes and arrays of MANO.

It consists of tubes: the palm, whose front splits into four fingers, and a thumb. The frame is MANO's, in metres:
fingers to -x, the palm down to -y, the thumb to z.
"""

from itertools import chain
from typing import NamedTuple

import numpy as np

from .meshes import MeshBuilder, pose_blend_shapes, reordered, smoothed, smoothstep

SIDES = 10  # vertices around a finger
FINGER_ROWS = dict(pinky=11, ring=11, middle=12, index=11, thumb=11)
# Fingers in their order along the knuckles, three columns of the palm each.
ROW = ('pinky', 'ring', 'middle', 'index')
TOP, SIDE = 12, 2  # columns over the palm's back and down its edge; a ring has both twice
RING = 2 * (TOP + SIDE)
WRIST_RING = 16
FIRST_JOINT = dict(index=1, middle=4, pinky=7, ring=10, thumb=13)
TIP_VERTEX = dict(thumb=744, index=320, middle=443, ring=555, pinky=672)

# For each finger the knuckle, the next two joints and the tip, in metres.
BONES = dict(
    index=((0.003, 0.004, 0.029), (-0.037, 0.003, 0.035), (-0.061, 0.001, 0.038), (-0.084, -0.002, 0.040)),
    middle=((-0.003, 0.006, 0.008), (-0.047, 0.006, 0.009), (-0.074, 0.004, 0.009), (-0.099, 0.001, 0.009)),
    ring=((0.004, 0.004, -0.012), (-0.036, 0.003, -0.016), (-0.062, 0.001, -0.018), (-0.086, -0.002, -0.020)),
    pinky=((0.014, 0.000, -0.030), (-0.017, -0.001, -0.038), (-0.036, -0.003, -0.042), (-0.056, -0.005, -0.045)),
    thumb=((0.070, -0.008, 0.027), (0.040, -0.016, 0.049), (0.011, -0.021, 0.062), (-0.016, -0.024, 0.071)),
)
# For each finger the radius at the knuckle and at the tip, in metres.
RADII = dict(index=(0.0108, 0.0084), middle=(0.0112, 0.0087), ring=(0.0105, 0.0082), pinky=(0.0093, 0.0072))
RADII['thumb'] = (0.0135, 0.0100)
WRIST = np.array((0.092, 0.004, 0.004))


class _Proportions(NamedTuple):
    """Factors of the hand's measures; all are 1 for the neutral hand."""

    scale: float
    lengths: dict[str, float]  # of the fingers
    thick: float
    width: float
    palm: float
    taper: float
    spread: float
    back: float


class _Hand(NamedTuple):
    """The mesh of a hand and the vertex numbers of its pieces, which are the same for every shape.

    Attributes:
        mesh: The mesh.
        rows: Rings of the palm, from the wrist to the webs.
        wrist: The ring at the open end.
        between: Vertices of the webs between the fingers.
        thumb_base: The ring from which the thumb grows.
        arcs: For each finger the distance from the knuckle, along the bones, of each of its vertices, in metres.
        tips: The vertex at each finger tip.
        knuckles: (4, 3), in the order of ``ROW``.
        scale: Factor of the whole hand, which ``_vertices`` applies.
    """

    mesh: MeshBuilder
    rows: list[list[int]]
    wrist: list[int]
    between: list[int]
    thumb_base: list[int]
    arcs: dict[str, dict[int, float]]
    tips: dict[str, int]
    knuckles: np.ndarray
    scale: float


def _proportions(shape: np.ndarray) -> _Proportions:
    """Return the factors of ten shape coefficients; a unit is about one standard deviation of real hands."""
    scale, length, thick, width, palm, thumb, taper, little, spread, back = 1 + 0.05 * shape
    lengths = dict.fromkeys(ROW, length)
    lengths.update(thumb=length * thumb, pinky=length * little, ring=length * little**0.5)
    return _Proportions(scale, lengths, thick, width, palm, taper, spread, back)


def _bones(finger: str, proportions: _Proportions) -> np.ndarray:
    """Return the joints (4, 3) of a finger."""
    points = np.array(BONES[finger])
    knuckle = WRIST + (points[0] - WRIST) * (proportions.palm, 1, proportions.width)
    along = (points - points[0]) * proportions.lengths[finger]
    along[:, 2] += (proportions.spread - 1) * along[:, 0] * -6 * knuckle[2]
    return knuckle + along


def _palm_ring(s: float, proportions: _Proportions, knuckles: np.ndarray) -> np.ndarray:
    """Return a ring (28, 3) of the palm: over the back from the little finger to the index, and back below.

    Args:
        s: Position of the ring, 0 at the wrist and 1 at the webs between the fingers.
        proportions: Factors of the hand's measures.
        knuckles: (4, 3), in the order of ``ROW``.
    """
    across = np.linspace(-1, 1, TOP + 1)
    half_width = (0.0265 + 0.0135 * smoothstep(np.array(s * 1.15))) * proportions.width
    centre = 0.004 - 0.004 * s
    # The webs follow the knuckles, which lie on a bow.
    web = np.interp(across, np.linspace(-0.75, 0.75, 4), knuckles[:, 0]) - 0.022
    height = np.interp(across, np.linspace(-0.75, 0.75, 4), knuckles[:, 1])
    x = WRIST[0] + (web - WRIST[0]) * s
    up = (0.0185 - 0.0075 * s) * proportions.thick * proportions.back
    down = (0.0170 - 0.0045 * s) * proportions.thick
    rounded = (1 - 0.93 * np.abs(across) ** 3) ** 0.5
    level = WRIST[1] * (1 - s) + height * s - 0.003 * s * (1 - across**2)
    # The ball of the thumb.
    ball = 0.010 * np.exp(-(((s - 0.35) / 0.3) ** 2) - ((across - 0.75) / 0.45) ** 2)
    z = centre + half_width * across
    top = np.stack((x, level + up * rounded, z), 1)
    bottom = np.stack((x, level - down * rounded - ball, z), 1)
    edge = [np.array((x[i], level[i] - ball[i] / 2, z[i] + side * 0.0035)) for i, side in ((TOP, 1), (0, -1))]
    return np.concatenate((top, edge[:1], bottom[::-1], edge[1:]))


def _path(
    bones: np.ndarray, start: np.ndarray, start_arc: float, radius: float, rows: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return centres (rows, 3), arcs along the bones (rows,) and shares (rows,) of the radius of a finger's rings."""
    arcs = np.concatenate(([0], np.cumsum(np.linalg.norm(np.diff(bones, axis=0), axis=1))))
    end = arcs[-1]
    cap = np.deg2rad((25, 52, 75))
    body = np.linspace(start_arc, end - radius, rows - len(cap) + 1)[1:]
    along = np.concatenate((body, end - radius + radius * np.sin(cap)))
    share = np.concatenate((np.ones(len(body)), np.cos(cap)))
    centres = np.stack([np.interp(along, arcs, bones[:, k]) for k in range(3)], 1)
    # The path starts in the middle of the first ring and approaches the bones.
    centres += (start - _at(bones, arcs, start_arc)) * (1 - smoothstep((along - start_arc) / 0.02))[:, None]
    return centres, along, share


def _at(bones: np.ndarray, arcs: np.ndarray, arc: float) -> np.ndarray:
    return np.array([np.interp(arc, arcs, bones[:, k]) for k in range(3)])


def _finger(
    mesh: MeshBuilder, base: list[int], finger: str, proportions: _Proportions, start_arc: float
) -> tuple[dict[int, float], int]:
    """Grow a finger on the ring ``base``. Return the arc of each new vertex and the number of the tip."""
    bones = _bones(finger, proportions)
    first, last = np.array(RADII[finger]) * proportions.thick * (1, proportions.taper)
    points = mesh.vertices[base]
    centres, along, share = _path(bones, points.mean(0), start_arc, last, FINGER_ROWS[finger])
    joint_arcs = np.cumsum(np.linalg.norm(np.diff(bones, axis=0), axis=1))
    end, ring = joint_arcs[-1], base
    arcs: dict[int, float] = {}
    tangents = np.gradient(np.concatenate((points.mean(0)[None], centres)), axis=0)[1:]
    tangents[-3:] = bones[3] - bones[2]
    for centre, arc, part, tangent in zip(centres, along, share, tangents, strict=True):
        radius = (first + (last - first) * arc / end) * part
        radius *= 1 + 0.07 * sum(np.exp(-(((arc - joint) / 0.006) ** 2)) for joint in joint_arcs[:2])
        tangent = tangent / np.linalg.norm(tangent)
        right = np.cross((0, 1, 0), tangent)
        right /= np.linalg.norm(right)
        up = np.cross(tangent, right)
        # Each ring starts beside the first vertex of the base, so that the tube is not twisted.
        offset = points - points.mean(0)
        turns = np.unwrap(np.arctan2(offset @ up, offset @ right))
        step = np.sign(turns[-1] - turns[0]) * 2 * np.pi / SIDES
        angles = (turns - step * np.arange(SIDES)).mean() + step * np.arange(SIDES)
        flat = 0.92 + 0.08 * np.cos(2 * angles)
        circle = np.cos(angles)[:, None] * right + (flat * np.sin(angles))[:, None] * up
        new = mesh.add(centre + radius * circle)
        mesh.bridge(ring, new)
        arcs.update(dict.fromkeys(new, arc))
        ring = new
    tip = mesh.add(bones[3])[0]
    mesh.close(ring, tip)
    arcs[tip] = end
    return arcs, tip


def _build(shape: np.ndarray) -> _Hand:
    """Build the hand of ten shape coefficients."""
    proportions = _proportions(shape)
    mesh = MeshBuilder()
    knuckles = np.array([_bones(finger, proportions)[0] for finger in ROW])
    start = _palm_ring(-0.12, proportions, knuckles)
    places = np.arange(WRIST_RING) * RING / WRIST_RING
    wrapped = np.concatenate((start, start[:1]))
    wrist = mesh.add(np.stack([np.interp(places, np.arange(RING + 1), wrapped[:, k]) for k in range(3)], 1))
    rows = []
    for number, s in enumerate((0, 0.17, 0.33, 0.49, 0.64, 0.80, 1)):
        rows.append(mesh.add(_palm_ring(s, proportions, knuckles)))
        hole = (TOP, TOP + 1) if 2 <= number <= 4 else ()
        mesh.bridge(rows[-2] if number else wrist, rows[-1], skip=hole)
    front, points = rows[-1], mesh.vertices
    between = [front[-1]]
    for k in (3, 6, 9):
        between += mesh.add((points[front[k]] + points[front[2 * TOP + 2 - k]]) / 2)
    between.append(front[TOP + 1])
    arcs, tips = {}, {}
    for number, finger in enumerate(ROW):
        back, below = 3 * number, 2 * TOP + 2 - 3 * number
        base = [*front[back : back + 4], between[number + 1], *front[below - 3 : below + 1], between[number]]
        arcs[finger], tips[finger] = _finger(mesh, base, finger, proportions, start_arc=0.022)
    thumb_base = [*rows[1][TOP : TOP + 3], *(row[TOP + 2] for row in rows[2:5])]
    thumb_base += [rows[4][TOP + 1], rows[4][TOP], rows[3][TOP], rows[2][TOP]]
    arcs['thumb'], tips['thumb'] = _finger(mesh, thumb_base, 'thumb', proportions, start_arc=0.024)
    return _Hand(mesh, rows, wrist, between, thumb_base, arcs, tips, knuckles, proportions.scale)


def _vertices(hand: _Hand, faces: np.ndarray) -> np.ndarray:
    """Return smoothed vertices (V, 3). The tips stay at the ends of the bones."""
    vertices = hand.mesh.vertices
    vertices = smoothed(vertices, faces, 2, fixed=[*hand.tips.values(), *hand.wrist])
    return WRIST + (vertices - WRIST) * hand.scale


def _weights(hand: _Hand, faces: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Return skinning weights (V, 16), from each vertex's finger and its position along the finger."""
    weights = np.zeros((len(vertices), 16))
    weights[:, 0] = 1
    palm = np.array(sorted({*chain.from_iterable(hand.rows), *hand.between, *hand.wrist}))
    across, x = vertices[palm, 2], vertices[palm, 0]
    order = np.argsort(hand.knuckles[:, 2])
    centres = hand.knuckles[order]
    share = np.stack([np.interp(across, centres[:, 2], np.eye(4)[k]) for k in range(4)], 1)
    palm_weights = np.zeros((len(palm), 16))
    for k, number in enumerate(order):
        bones = _along(ROW[number], centres[k, 0] - x)
        palm_weights += share[:, k, None] * bones
    weights[palm] = palm_weights
    for finger, arcs in hand.arcs.items():
        numbers = np.array(list(arcs))
        weights[numbers] = _along(finger, np.array(list(arcs.values())))
    thumb = hand.thumb_base
    weights[thumb] = 0.5 * weights[thumb] + 0.5 * _along('thumb', np.full(len(thumb), 0.012))
    weights = smoothed(weights, faces, 2)
    return weights / weights.sum(1, keepdims=True)


def _along(finger: str, arcs: np.ndarray) -> np.ndarray:
    """Return the weights (N, 16) of points at the distances ``arcs`` (N,) from a finger's knuckle."""
    joints = np.concatenate(([0], np.cumsum(np.linalg.norm(np.diff(np.array(BONES[finger]), axis=0), axis=1))[:2]))
    after = [
        smoothstep((arcs - joint) / (2 * width) + 0.5)
        for joint, width in zip(joints, (0.014, 0.006, 0.005), strict=True)
    ]
    first = FIRST_JOINT[finger]
    weights = np.zeros((len(arcs), 16))
    weights[:, 0] = 1 - after[0]
    weights[:, first] = after[0] * (1 - after[1])
    weights[:, first + 1] = after[1] * (1 - after[2])
    weights[:, first + 2] = after[1] * after[2]
    return weights


def _regressor(hand: _Hand, count: int) -> np.ndarray:
    """Return the joint regressor (16, V): each joint is the mean of the rings around it."""
    regressor = np.zeros((16, count))
    rows = hand.rows
    regressor[0, rows[0]] = 1
    for number, finger in enumerate(ROW):
        back, below = 3 * number, 2 * TOP + 2 - 3 * number
        regressor[FIRST_JOINT[finger], [*rows[5][back : back + 4], *rows[5][below - 3 : below + 1]]] = 1
    base = hand.thumb_base
    regressor[FIRST_JOINT['thumb'], [*base[:4], base[-1]]] = 1
    for finger, arcs in hand.arcs.items():
        joints = np.cumsum(np.linalg.norm(np.diff(np.array(BONES[finger]), axis=0), axis=1))
        numbers, values = np.array(list(arcs)), np.array(list(arcs.values()))
        levels = np.unique(values)
        for k in (0, 1):
            # The joint is interpolated between the two nearest rings.
            upper = int(np.searchsorted(levels, joints[k]))
            share = (joints[k] - levels[upper - 1]) / (levels[upper] - levels[upper - 1])
            regressor[FIRST_JOINT[finger] + k + 1, numbers[values == levels[upper - 1]]] = 1 - share
            regressor[FIRST_JOINT[finger] + k + 1, numbers[values == levels[upper]]] = share
    return regressor / regressor.sum(1, keepdims=True)


def _hand_poses() -> tuple[np.ndarray, np.ndarray]:
    """Return the pose (45,) of a relaxed hand, axis-angle, and 45 orthonormal directions (45, 45) of change.

    The first directions close the fist and spread the fingers.
    """
    mean = np.zeros((15, 3))
    bend = {}
    for finger, amount in dict(index=0.30, middle=0.38, pinky=0.40, ring=0.42).items():
        first = FIRST_JOINT[finger] - 1
        mean[first : first + 3, 2] = amount, 1.2 * amount, 0.7 * amount
        move = np.zeros((15, 3))
        move[first : first + 3, 2] = 1, 1.1, 0.7
        bend[finger] = move
    thumb = np.array(BONES['thumb'])
    axis = np.cross(thumb[1] - thumb[0], (0.2, -1, -0.4))
    axis /= np.linalg.norm(axis)
    mean[12:15] = np.array((0.15, 0.2, 0.25))[:, None] * axis
    bend['thumb'] = np.zeros((15, 3))
    bend['thumb'][12:15] = np.array((0.5, 0.8, 1.0))[:, None] * axis
    fist = np.sum(list(bend.values()), axis=0)
    spread = np.zeros((15, 3))
    spread[[0, 3, 6, 9], 1] = -1, -0.2, 1, 0.5
    directions: list[np.ndarray] = []
    # Gram-Schmidt: the unit vectors complete the basis.
    for direction in (*(move.ravel() for move in (fist, spread, *bend.values())), *np.eye(45)):
        for other in directions:
            direction = direction - (direction @ other) * other
        if np.linalg.norm(direction) > 1e-6:
            directions.append(direction / np.linalg.norm(direction))
    return mean.ravel(), np.array(directions)


def hand_arrays(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the arrays of a MANO file.

    Args:
        rng: Source of the pose corrections.
    """
    neutral = _build(np.zeros(10))
    used = np.unique(neutral.mesh.faces)
    tips = {int(np.searchsorted(used, tip)): TIP_VERTEX[finger] for finger, tip in neutral.tips.items()}
    order = used[reordered(tips, len(used))]
    place = np.zeros(neutral.mesh.size, int)
    place[order] = np.arange(len(order))
    faces = neutral.mesh.faces
    raw = [_vertices(_build(shape), faces) for shape in (np.zeros(10), *np.eye(10))]
    template = raw[0]
    weights = _weights(neutral, faces, template)[order]
    parents = np.array((0, 0, 1, 2, 0, 4, 5, 0, 7, 8, 0, 10, 11, 0, 13, 14))
    mean, components = _hand_poses()
    return dict(
        v_template=template[order],
        shapedirs=np.stack([changed - template for changed in raw[1:]], -1)[order],
        posedirs=pose_blend_shapes(weights, parents, rng),
        J_regressor=_regressor(neutral, len(template))[:, order],
        weights=weights,
        kintree_table=np.stack((np.array((2**32 - 1, *parents[1:])), np.arange(16))),
        f=place[faces][:, ::-1],
        hands_mean=mean,
        hands_components=components,
    )
