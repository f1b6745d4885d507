"""A right hand with MANO's sizes, made up of tubes: the palm, whose front splits into four fingers, and a thumb.

Its frame is MANO's: fingers to -x, the palm down to -y, the thumb to z; metres.
"""

import numpy as np

from .meshes import MeshBuilder, smoothed, smoothstep, with_tips_at

SIDES = 10  # vertices around a finger
PALM_ROWS = 7
FINGER_ROWS = dict(pinky=11, ring=11, middle=12, index=11, thumb=11)
# Fingers in the order in which they lie along the knuckles, three columns of the palm each.
ROW = ('pinky', 'ring', 'middle', 'index')
TOP, SIDE = 12, 2  # columns over the palm's back and down its edge; the ring is both twice
RING = 2 * (TOP + SIDE)
WRIST_RING = 16
FIRST_JOINT = dict(index=1, middle=4, pinky=7, ring=10, thumb=13)
TIP_VERTEX = dict(thumb=744, index=320, middle=443, ring=555, pinky=672)

# Of each finger: the knuckle, the two joints after it, the tip.
BONES = dict(
    index=((0.003, 0.004, 0.029), (-0.037, 0.003, 0.035), (-0.061, 0.001, 0.038), (-0.084, -0.002, 0.040)),
    middle=((-0.003, 0.006, 0.008), (-0.047, 0.006, 0.009), (-0.074, 0.004, 0.009), (-0.099, 0.001, 0.009)),
    ring=((0.004, 0.004, -0.012), (-0.036, 0.003, -0.016), (-0.062, 0.001, -0.018), (-0.086, -0.002, -0.020)),
    pinky=((0.014, 0.000, -0.030), (-0.017, -0.001, -0.038), (-0.036, -0.003, -0.042), (-0.056, -0.005, -0.045)),
    thumb=((0.070, -0.008, 0.027), (0.040, -0.016, 0.049), (0.011, -0.021, 0.062), (-0.016, -0.024, 0.071)),
)
RADII = dict(index=(0.0108, 0.0084), middle=(0.0112, 0.0087), ring=(0.0105, 0.0082), pinky=(0.0093, 0.0072))
RADII['thumb'] = (0.0135, 0.0100)
WRIST = np.array((0.092, 0.004, 0.004))


def _stretch(shape: np.ndarray) -> dict:
    """What each of the ten shape numbers changes, about as much as one standard deviation of real hands."""
    scale, length, thick, width, palm, thumb, taper, little, spread, back = 1 + 0.05 * shape
    lengths = dict.fromkeys(ROW, length)
    lengths.update(thumb=length * thumb, pinky=length * little, ring=length * little**0.5)
    return dict(
        scale=scale, lengths=lengths, thick=thick, width=width, palm=palm, taper=taper, spread=spread, back=back
    )


def _bones(finger: str, stretch: dict) -> np.ndarray:
    """The joints (4, 3) of a finger of a hand of some shape."""
    points = np.array(BONES[finger])
    knuckle = WRIST + (points[0] - WRIST) * (stretch['palm'], 1, stretch['width'])
    along = (points - points[0]) * stretch['lengths'][finger]
    along[:, 2] += (stretch['spread'] - 1) * along[:, 0] * -6 * knuckle[2]
    return knuckle + along


def _palm_ring(s: float, stretch: dict, knuckles: np.ndarray) -> np.ndarray:
    """One ring (28, 3) of the palm: over its back from the little finger to the index, down, and back below.

    Args:
        s: 0 at the wrist, 1 at the webs between the fingers.
    """
    across = np.linspace(-1, 1, TOP + 1)
    half_width = (0.0265 + 0.0135 * smoothstep(np.array(s * 1.15))) * stretch['width']
    centre = 0.004 - 0.004 * s
    # The webs follow the knuckles, which lie on a bow.
    web = np.interp(across, np.linspace(-0.75, 0.75, 4), knuckles[:, 0]) - 0.022
    height = np.interp(across, np.linspace(-0.75, 0.75, 4), knuckles[:, 1])
    x = WRIST[0] + (web - WRIST[0]) * s
    up = (0.0185 - 0.0075 * s) * stretch['thick'] * stretch['back']
    down = (0.0170 - 0.0045 * s) * stretch['thick']
    rounded = (1 - 0.93 * np.abs(across) ** 3) ** 0.5
    level = WRIST[1] * (1 - s) + height * s - 0.003 * s * (1 - across**2)
    # The ball of the thumb.
    ball = 0.010 * np.exp(-(((s - 0.35) / 0.3) ** 2) - ((across - 0.75) / 0.45) ** 2)
    z = centre + half_width * across
    top = np.stack((x, level + up * rounded, z), 1)
    bottom = np.stack((x, level - down * rounded - ball, z), 1)
    edge = [np.array((x[i], level[i] - ball[i] / 2, z[i] + side * 0.0035)) for i, side in ((TOP, 1), (0, -1))]
    return np.concatenate((top, edge[:1], bottom[::-1], edge[1:]))


def _path(bones: np.ndarray, start: np.ndarray, start_arc: float, radius: float, rows: int) -> tuple:
    """Centres (rows, 3), arcs along the bones (rows,) and the share of the radius of a finger's rings."""
    arcs = np.concatenate(([0], np.cumsum(np.linalg.norm(np.diff(bones, axis=0), axis=1))))
    end = arcs[-1]
    cap = np.deg2rad((25, 52, 75))
    body = np.linspace(start_arc, end - radius, rows - len(cap) + 1)[1:]
    along = np.concatenate((body, end - radius + radius * np.sin(cap)))
    share = np.concatenate((np.ones(len(body)), np.cos(cap)))
    centres = np.stack([np.interp(along, arcs, bones[:, k]) for k in range(3)], 1)
    # From the middle of the first ring over to the bones.
    centres += (start - _at(bones, arcs, start_arc)) * (1 - smoothstep((along - start_arc) / 0.02))[:, None]
    return centres, along, share


def _at(bones: np.ndarray, arcs: np.ndarray, arc: float) -> np.ndarray:
    return np.array([np.interp(arc, arcs, bones[:, k]) for k in range(3)])


def _finger(surface: MeshBuilder, base: list[int], finger: str, stretch: dict, start_arc: float) -> tuple[dict, int]:
    """Grow a finger on the ring ``base``. Returns the arc of each new vertex and the number of the tip."""
    bones = _bones(finger, stretch)
    first, last = np.array(RADII[finger]) * stretch['thick'] * (1, stretch['taper'])
    points = surface.vertices[base]
    centres, along, share = _path(bones, points.mean(0), start_arc, last, FINGER_ROWS[finger])
    joint_arcs = np.cumsum(np.linalg.norm(np.diff(bones, axis=0), axis=1))
    end, arcs, ring = joint_arcs[-1], {}, base
    tangents = np.gradient(np.concatenate((points.mean(0)[None], centres)), axis=0)[1:]
    tangents[-3:] = bones[3] - bones[2]
    for centre, arc, part, tangent in zip(centres, along, share, tangents, strict=True):
        radius = (first + (last - first) * arc / end) * part
        radius *= 1 + 0.07 * sum(np.exp(-(((arc - joint) / 0.006) ** 2)) for joint in joint_arcs[:2])
        tangent = tangent / np.linalg.norm(tangent)
        right = np.cross((0, 1, 0), tangent)
        right /= np.linalg.norm(right)
        up = np.cross(tangent, right)
        # The ring starts beside the first vertex of the base, so that the tube is not twisted.
        offset = points - points.mean(0)
        turns = np.unwrap(np.arctan2(offset @ up, offset @ right))
        step = np.sign(turns[-1] - turns[0]) * 2 * np.pi / SIDES
        angles = (turns - step * np.arange(SIDES)).mean() + step * np.arange(SIDES)
        flat = 0.92 + 0.08 * np.cos(2 * angles)
        circle = np.cos(angles)[:, None] * right + (flat * np.sin(angles))[:, None] * up
        new = surface.add(centre + radius * circle)
        surface.bridge(ring, new)
        arcs.update(dict.fromkeys(new, arc))
        ring = new
    tip = surface.add(bones[3])[0]
    surface.close(ring, tip)
    arcs[tip] = end
    return arcs, tip


def _build(shape: np.ndarray) -> dict:
    """The surface of a hand and what its numbering is known by; the numbering is the same for every shape."""
    stretch = _stretch(shape)
    surface = MeshBuilder()
    knuckles = np.array([_bones(finger, stretch)[0] for finger in ROW])
    start = _palm_ring(-0.12, stretch, knuckles)
    places = np.arange(WRIST_RING) * RING / WRIST_RING
    wrapped = np.concatenate((start, start[:1]))
    wrist = surface.add(np.stack([np.interp(places, np.arange(RING + 1), wrapped[:, k]) for k in range(3)], 1))
    rows = []
    for number, s in enumerate((0, 0.17, 0.33, 0.49, 0.64, 0.80, 1)):
        rows.append(surface.add(_palm_ring(s, stretch, knuckles)))
        hole = (TOP, TOP + 1) if 2 <= number <= 4 else ()
        surface.bridge(rows[-2] if number else wrist, rows[-1], skip=hole)
    front, points = rows[-1], surface.vertices
    between = [front[-1]]
    for k in (3, 6, 9):
        between += surface.add((points[front[k]] + points[front[2 * TOP + 2 - k]]) / 2)
    between.append(front[TOP + 1])
    arcs, tips = {}, {}
    for number, finger in enumerate(ROW):
        back, below = 3 * number, 2 * TOP + 2 - 3 * number
        base = [*front[back : back + 4], between[number + 1], *front[below - 3 : below + 1], between[number]]
        arcs[finger], tips[finger] = _finger(surface, base, finger, stretch, start_arc=0.022)
    thumb_base = [*rows[1][TOP : TOP + 3], *(row[TOP + 2] for row in rows[2:5])]
    thumb_base += [rows[4][TOP + 1], rows[4][TOP], rows[3][TOP], rows[2][TOP]]
    arcs['thumb'], tips['thumb'] = _finger(surface, thumb_base, 'thumb', stretch, start_arc=0.024)
    return dict(
        surface=surface,
        rows=rows,
        wrist=wrist,
        between=between,
        thumb_base=thumb_base,
        arcs=arcs,
        tips=tips,
        knuckles=knuckles,
        scale=stretch['scale'],
    )


def _vertices(build: dict, faces: np.ndarray) -> np.ndarray:
    """Smoothed vertices; the tips stay where the bones end."""
    vertices = build['surface'].vertices
    vertices = smoothed(vertices, faces, 2, fixed=[*build['tips'].values(), *build['wrist']])
    return WRIST + (vertices - WRIST) * build['scale']


def _weights(build: dict, faces: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """(V, 16) skinning weights: each vertex belongs to a finger and lies somewhere along it."""
    weights = np.zeros((len(vertices), 16))
    weights[:, 0] = 1
    palm = np.array(sorted({*sum(build['rows'], []), *build['between'], *build['wrist']}))
    across, x = vertices[palm, 2], vertices[palm, 0]
    order = np.argsort(build['knuckles'][:, 2])
    centres = build['knuckles'][order]
    share = np.stack([np.interp(across, centres[:, 2], np.eye(4)[k]) for k in range(4)], 1)
    palm_weights = np.zeros((len(palm), 16))
    for k, number in enumerate(order):
        bones = _along(ROW[number], centres[k, 0] - x)
        palm_weights += share[:, k, None] * bones
    weights[palm] = palm_weights
    for finger, arcs in build['arcs'].items():
        numbers = np.array(list(arcs))
        weights[numbers] = _along(finger, np.array(list(arcs.values())))
    thumb = build['thumb_base']
    weights[thumb] = 0.5 * weights[thumb] + 0.5 * _along('thumb', np.full(len(thumb), 0.012))
    weights = smoothed(weights, faces, 2)
    return weights / weights.sum(1, keepdims=True)


def _along(finger: str, arcs: np.ndarray) -> np.ndarray:
    """(N, 16) weights of points so far along a finger, from its knuckle."""
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


def _regressor(build: dict, count: int) -> np.ndarray:
    """(16, V) rows that find each joint as the mean of the rings around it."""
    regressor = np.zeros((16, count))
    rows = build['rows']
    regressor[0, rows[0]] = 1
    for number, finger in enumerate(ROW):
        back, below = 3 * number, 2 * TOP + 2 - 3 * number
        regressor[FIRST_JOINT[finger], [*rows[5][back : back + 4], *rows[5][below - 3 : below + 1]]] = 1
    base = build['thumb_base']
    regressor[FIRST_JOINT['thumb'], [*base[:4], base[-1]]] = 1
    for finger, arcs in build['arcs'].items():
        joints = np.cumsum(np.linalg.norm(np.diff(np.array(BONES[finger]), axis=0), axis=1))
        numbers, values = np.array(list(arcs)), np.array(list(arcs.values()))
        levels = np.unique(values)
        for k in (0, 1):
            # Between the two rings that lie on either side of the joint.
            upper = int(np.searchsorted(levels, joints[k]))
            share = (joints[k] - levels[upper - 1]) / (levels[upper] - levels[upper - 1])
            regressor[FIRST_JOINT[finger] + k + 1, numbers[values == levels[upper - 1]]] = 1 - share
            regressor[FIRST_JOINT[finger] + k + 1, numbers[values == levels[upper]]] = share
    return regressor / regressor.sum(1, keepdims=True)


def _hand_poses() -> tuple[np.ndarray, np.ndarray]:
    """A relaxed hand (45,), axis-angle, and 45 orthonormal directions of change, fists and spread fingers first."""
    mean, moves = np.zeros((15, 3)), []
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
    moves.append(sum(bend.values()))
    spread = np.zeros((15, 3))
    spread[[0, 3, 6, 9], 1] = -1, -0.2, 1, 0.5
    moves += [spread, *bend.values()]
    moves += list(np.eye(45))
    directions: list[np.ndarray] = []
    for move in moves:
        move = np.asarray(move, float).ravel()
        for other in directions:
            move = move - (move @ other) * other
        if np.linalg.norm(move) > 1e-6:
            directions.append(move / np.linalg.norm(move))
    return mean.ravel(), np.array(directions)


def hand(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The arrays of a MANO file."""
    neutral = _build(np.zeros(10))
    used = np.unique(neutral['surface'].faces)
    tips = {int(np.searchsorted(used, tip)): TIP_VERTEX[finger] for finger, tip in neutral['tips'].items()}
    order = used[with_tips_at(tips, len(used))]
    place = np.zeros(neutral['surface'].size, int)
    place[order] = np.arange(len(order))
    faces = neutral['surface'].faces
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


def pose_blend_shapes(weights: np.ndarray, parents: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(V, 3, 9 (J - 1)) corrections of up to 2 mm per unit of rotation, around each joint and nowhere else."""
    joints = weights.shape[1]
    around = 4 * weights[:, 1:] * weights[:, parents[1:]]
    directions = rng.normal(size=(joints - 1, 9, 3))
    directions *= 0.002 / np.linalg.norm(directions, axis=-1, keepdims=True)
    return np.einsum('vj,jkc->vcjk', around, directions).reshape(len(weights), 3, -1)
