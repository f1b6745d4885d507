"""A body with SMPL-X's sizes: the synthetic head and two synthetic hands on a trunk and limbs that are tubes.

Its frame is SMPL-X's: x to the person's left, y up, z forwards, arms stretched out to the sides; metres.
"""

from itertools import pairwise

import numpy as np

from ..body_models.files import BODY_MODELS
from ..models.conventions import SMPLX_55, SMPLX_VERTEX_JOINTS
from .hand import TIP_VERTEX, pose_blend_shapes
from .head import NUM_EXPRESSION, NUM_SHAPE
from .head_surface import EYE
from .meshes import MeshBuilder, smoothstep, with_tips_at

USED = 10  # blend shapes of either kind that are not zero
HEAD_OFFSET = np.array((0, 0.30, 0.0))
WRIST = np.array((0.67, 0.11, -0.02))
MIRROR = np.array((-1, 1, 1))
# Of each tube: its joints along the path with the half-widths there (x or z, and the other one), the way it starts and
# ends before and behind them, rings and columns. The limbs are the left ones.
TRUNK = (
    (
        ('pelvis', (0, -0.35, 0.00), (0.155, 0.100)),
        ('spine_1', (0, -0.24, -0.01), (0.140, 0.095)),
        ('spine_2', (0, -0.10, -0.01), (0.145, 0.100)),
        ('spine_3', (0, 0.00, -0.01), (0.165, 0.105)),
        ('neck', (0, 0.145, -0.02), (0.085, 0.060)),
    ),
    (0, -0.11, 0),
    (0, 0.03, 0),
    25,
    40,
)
ARM = (
    (
        ('collar', (0.06, 0.085, -0.02), (0.055, 0.060)),
        ('shoulder', (0.17, 0.11, -0.02), (0.058, 0.058)),
        ('elbow', (0.42, 0.11, -0.02), (0.042, 0.042)),
        ('wrist', WRIST, (0.020, 0.028)),
    ),
    (-0.03, 0, 0),
    (0.004, 0, 0),
    30,
    20,
)
LEG = (
    (
        ('hip', (0.08, -0.44, 0.00), (0.085, 0.095)),
        ('knee', (0.10, -0.83, 0.00), (0.056, 0.060)),
        ('ankle', (0.10, -1.23, -0.03), (0.038, 0.044)),
    ),
    (0, 0.14, 0),
    (0, -0.04, 0),
    40,
    24,
)
FOOT = (
    (('ankle', (0.10, -1.265, -0.03), (0.038, 0.038)), ('foot', (0.12, -1.280, 0.09), (0.046, 0.026))),
    (0, 0, -0.04),
    (0.008, -0.004, 0.075),
    15,
    16,
)


class _Body:
    """Parts put together, each with its skinning weights and rows of the joint regressor."""

    def __init__(self) -> None:
        self.vertices, self.faces, self.weights, self.shapes = [], [], [], []
        self.regressor: list[dict[int, float]] = [{} for _ in SMPLX_55]
        self.size = 0

    def add(self, vertices: np.ndarray, faces: np.ndarray, weights: np.ndarray) -> int:
        """Returns the number of the part's first vertex."""
        first = self.size
        self.vertices.append(vertices)
        self.faces.append(faces + first)
        self.weights.append(weights)
        self.size += len(vertices)
        return first

    def add_tube(self, tube: tuple, side: str) -> None:
        """Add a tube and, for what no other part gives, the joints along it."""
        surface, rings, along, arcs = _tube(tube, closed=bool(side))
        numbers = [SMPLX_55.index(f'{side}_{name}' if side else name) for name, _, _ in tube[0]]
        arc_of = np.zeros(surface.size)
        arc_of[np.array(rings)] = along[:, None]
        arc_of[np.max(rings) + 1] = arcs[-1]
        beyond = [smoothstep((arc_of - arc) / 0.08 + 0.5) for arc in arcs[2:-1]]
        weights = np.zeros((surface.size, len(SMPLX_55)))
        for number, after, before in zip(numbers, [1, *beyond], [*beyond, 0], strict=True):
            weights[:, number] = after * (1 - before)
        weights /= weights.sum(1, keepdims=True)
        right = side == 'right'
        faces = surface.faces[:, ::-1] if right else surface.faces
        first = self.add(surface.vertices * (MIRROR if right else 1), faces, weights)
        for number, arc in zip(numbers, arcs[1:-1], strict=True):
            if not self.regressor[number]:
                upper = int(np.clip(np.searchsorted(along, arc), 1, len(along) - 1))
                share = np.clip((arc - along[upper - 1]) / (along[upper] - along[upper - 1]), 0, 1)
                self.regressor[number] = {first + v: 1 - share for v in rings[upper - 1]}
                self.regressor[number].update({first + v: share for v in rings[upper]})

    def add_model(
        self, model: dict, keep: np.ndarray, joints: list[int], offset: np.ndarray, mirror: np.ndarray
    ) -> np.ndarray:
        """Add a head or a hand, its hole closed. Returns the new numbers of its vertices, -1 for dropped ones."""
        place = np.full(len(keep), -1)
        place[keep] = np.arange(keep.sum())
        faces = place[model['f'][keep[model['f']].all(1)]]
        edges = np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]))
        known = set(map(tuple, edges))
        hole = np.array([(b, a) for a, b in map(tuple, edges) if (b, a) not in known])
        vertices = np.concatenate((model['v_template'][keep], model['v_template'][keep][hole[:, 0]].mean(0)[None]))
        cap = np.concatenate((hole, np.full((len(hole), 1), len(vertices) - 1)), 1)
        faces = np.concatenate((faces, cap))
        weights = np.zeros((len(vertices), len(SMPLX_55)))
        weights[:-1, joints] = model['weights'][keep][:, : len(joints)]
        weights[-1] = weights[hole[:, 0]].mean(0)
        first = self.add(vertices * mirror + offset, faces if mirror[0] > 0 else faces[:, ::-1], weights)
        place[place >= 0] += first
        for row, joint in zip(model['J_regressor'][: len(joints)], joints, strict=True):
            used = np.flatnonzero(row)
            if keep[used].all() and not self.regressor[joint]:
                self.regressor[joint] = {int(place[v]): row[v] for v in used}
        return place


def _tube(tube: tuple, closed: bool) -> tuple[MeshBuilder, list[list[int]], np.ndarray, np.ndarray]:
    """A tube along its joints.

    Returns:
        The surface, whose first vertices are the rings and the next one the far end; the rings; the length of the path
        at each ring; that at the start, the joints and the end.
    """
    joints, before, after, rows, columns = tube
    places = np.array([place for _, place, _ in joints])
    path = np.concatenate((places[:1] + before, places, places[-1:] + after))
    arcs = np.concatenate(([0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))))
    sizes = np.array([joints[0][2], *(size for _, _, size in joints), joints[-1][2]])
    along = np.linspace(0, arcs[-1], rows + 2)[1:-1]
    angles = np.linspace(0, 2 * np.pi, columns, endpoint=False)[:, None]
    surface, rings = MeshBuilder(), []
    for arc in along:
        centre, further = (np.array([np.interp(at, arcs, path[:, k]) for k in range(3)]) for at in (arc, arc + 0.005))
        ahead = (further - centre) / np.linalg.norm(further - centre)
        # Round ends, over about the length of a half-width.
        end = min(1, min(arc, arcs[-1] - arc) / (0.6 * sizes.mean())) ** 0.5
        width, depth = (end * np.interp(arc, arcs, sizes[:, k]) for k in (0, 1))
        across = np.cross((0, 0, 1), ahead) if abs(ahead[2]) < 0.9 else np.array((-1.0, 0, 0))
        across /= np.linalg.norm(across)
        rings.append(
            surface.add(centre + width * np.cos(angles) * across + depth * np.sin(angles) * np.cross(ahead, across))
        )
    for lower, upper in pairwise(rings):
        surface.bridge(lower, upper)
    surface.close(rings[-1], surface.add(path[-1])[0])
    if closed:
        surface.close(rings[0][::-1], surface.add(path[0])[0])
    else:
        # The only hole of the body, as small as a coin.
        hole = surface.add(path[0] + 0.01 * np.array(((1, 0, 0), (0, 0, -1), (-1, 0, 0), (0, 0, 1))))
        surface.bridge(hole, rings[0])
    return surface, rings, along, arcs


def body(hand: dict, head: dict, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The arrays of a SMPL-X file, made with those of the synthetic hand and head."""
    parts = _Body()
    name = SMPLX_55.index
    # The skin of the head is all that hangs together with the neck; the eyes are left out.
    skin = head['weights'][:, 3:].sum(1) == 0
    head_place = parts.add_model(head, skin, [name('neck'), name('head'), name('jaw')], HEAD_OFFSET, np.ones(3))
    parts.regressor[name('neck')] = {}
    hand_place = {}
    for side, mirror in (('left', MIRROR), ('right', np.ones(3))):
        joints = [name(f'{side}_wrist'), *range(name(f'{side}_index_1'), name(f'{side}_index_1') + 15)]
        wrist = WRIST * (1, 1, 1) if side == 'left' else WRIST * MIRROR
        offset = wrist - (hand['J_regressor'][0] @ hand['v_template']) * mirror
        hand_place[side] = parts.add_model(hand, np.ones(len(hand['weights']), bool), joints, offset, mirror)
    parts.add_tube(TRUNK, '')
    for side in ('left', 'right'):
        for tube in (ARM, LEG, FOOT):
            parts.add_tube(tube, side)
    vertices = np.concatenate(parts.vertices)
    for side, sign in (('left', 1), ('right', -1)):
        eye = EYE * (sign, 1, 1) + HEAD_OFFSET
        parts.regressor[name(f'{side}_eyeball')] = dict.fromkeys(
            (int(v) for v in np.linalg.norm(vertices - eye, axis=1).argsort()[:12]), 1.0
        )
    regressor = np.zeros((len(SMPLX_55), len(vertices)))
    for row, entries in zip(regressor, parts.regressor, strict=True):
        row[list(entries)] = list(entries.values())
    weights = np.concatenate(parts.weights)
    shapedirs = np.zeros((len(vertices), 3, NUM_SHAPE + NUM_EXPRESSION))
    shapedirs[..., :USED] = _shapes(vertices, rng)
    kept = head_place >= 0
    shapedirs[head_place[kept], :, NUM_SHAPE : NUM_SHAPE + USED] = head['shapedirs'][
        kept, :, NUM_SHAPE : NUM_SHAPE + USED
    ]
    order = with_tips_at(_marked(vertices, hand_place), len(vertices))
    place = np.argsort(order)
    faces = np.concatenate(parts.faces)
    parents = np.array(BODY_MODELS['smplx'].parents)
    weights = weights[order]
    return dict(
        v_template=vertices[order],
        shapedirs=shapedirs[order],
        posedirs=pose_blend_shapes(weights, parents.clip(min=0), rng),
        J_regressor=(regressor / regressor.sum(1, keepdims=True))[:, order],
        weights=weights,
        kintree_table=np.stack((np.where(parents < 0, 2**32 - 1, parents), np.arange(len(parents)))),
        f=place[faces],
        hands_meanr=hand['hands_mean'],
        # Mirrored: x stays, turns about the other two change sign.
        hands_meanl=(hand['hands_mean'].reshape(15, 3) * (1, -1, -1)).ravel(),
        hands_componentsr=hand['hands_components'],
        hands_componentsl=(hand['hands_components'].reshape(45, 15, 3) * (1, -1, -1)).reshape(45, 45),
        **_landmarks(head),
    )


def _shapes(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(V, 3, 10) per standard deviation: size, girth, legs, arms, head, shoulders, belly, then waves."""
    x, y, z = np.eye(3)
    side, wide = np.sign(p[:, 0]), np.abs(p[:, 0])
    trunk = 1 - smoothstep((wide - 0.15) / 0.1)
    up = smoothstep((p[:, 1] - 0.1) / 0.15) * trunk
    fields = [
        0.04 * p,
        0.06 * trunk[:, None] * p * (1, 0, 1),
        np.outer(smoothstep((-0.4 - p[:, 1]) / 0.8), -0.04 * y),
        np.outer(side * smoothstep((wide - 0.17) / 0.5), 0.03 * x),
        0.05 * up[:, None] * (p - HEAD_OFFSET),
        np.outer(side * smoothstep((wide - 0.02) / 0.15) * smoothstep((p[:, 1] + 0.2) / 0.2), 0.015 * x),
        np.outer(
            np.exp(-((p[:, 0] / 0.1) ** 2) - ((p[:, 1] + 0.22) / 0.1) ** 2) * smoothstep(p[:, 2] / 0.05), 0.03 * z
        ),
    ]
    for _ in range(USED - len(fields)):
        wave, direction = rng.normal(size=(2, 3))
        wave *= 2 * np.pi / 0.8 / np.linalg.norm(wave)
        fields.append(np.outer(np.sin(p @ wave), 0.008 * direction / np.linalg.norm(direction)))
    return np.stack(fields, -1)


def _marked(vertices: np.ndarray, hand_place: dict[str, np.ndarray]) -> dict[int, int]:
    """Official numbers of the vertices that count as joints, by their numbers here."""
    places = dict(nose=(0, 0.26, 0.2), toe=(0.11, -1.29, 0.2), small_toe=(0.17, -1.28, 0.12), heel=(0.10, -1.30, -0.15))
    numbers = {}
    for name, wanted in SMPLX_VERTEX_JOINTS.items():
        side, _, part = name.partition('_')
        if part.endswith('_tip'):
            numbers[int(hand_place[side][TIP_VERTEX[part[:-4]]])] = wanted
            continue
        sign = np.array((1 if side == 'left' else -1, 1, 1))
        near = {
            'eye': (EYE + HEAD_OFFSET + (0, 0, 0.03)) * sign,
            'ear': np.array((0.10, 0.288, -0.012)) * sign,
            'big_toe': np.array(places['toe']) * sign,
            'small_toe': np.array(places['small_toe']) * sign,
            'heel': np.array(places['heel']) * sign,
        }.get(part, np.array(places['nose']))
        numbers[int(np.linalg.norm(vertices - near, axis=1).argmin())] = wanted
    return numbers


def _landmarks(head: dict) -> dict[str, np.ndarray]:
    """The head's landmarks; its skin's triangles are the body's first, less those of the eyes."""
    skin = head['weights'][:, 3:].sum(1) == 0
    place = np.cumsum(skin[head['f']].all(1)) - 1
    return dict(
        lmk_faces_idx=place[head['lmk_faces_idx']],
        lmk_bary_coords=head['lmk_bary_coords'],
        dynamic_lmk_faces_idx=place[head['dynamic_lmk_faces_idx']],
        dynamic_lmk_bary_coords=head['dynamic_lmk_bary_coords'],
    )
