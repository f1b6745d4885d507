"""A synthetic body with the sizes and arrays of SMPL-X: trunk and limbs are tubes, head and hands the synthetic ones.

The frame is SMPL-X's, in metres: x to the person's left, y up, z forwards, arms stretched out to the sides.
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..body_models.files import BODY_MODELS
from ..models.conventions import SMPLX_55, SMPLX_VERTEX_JOINTS
from .hand import TIP_VERTEX
from .head import NUM_EXPRESSION, NUM_SHAPE
from .head_surface import EYE
from .meshes import MeshBuilder, pose_blend_shapes, reordered, smoothstep

USED = 10  # shape and expression coefficients, each, that are not zero
HEAD_OFFSET = np.array((0, 0.30, 0.0))
WRIST = (0.67, 0.11, -0.02)
MIRROR = np.array((-1, 1, 1))

Point = tuple[float, float, float]


class _Joint(NamedTuple):
    """A joint on the axis of a tube, with the half-widths of the tube there (x or z, and the other one), in metres."""

    name: str
    place: Point
    size: tuple[float, float]


class _Tube(NamedTuple):
    """A tube along joints. It starts ``before`` the first and ends ``after`` the last joint."""

    joints: tuple[_Joint, ...]
    before: Point
    after: Point
    rings: int
    columns: int


# The limbs are those of the left side.
TRUNK = _Tube(
    joints=(
        _Joint('pelvis', (0, -0.35, 0.00), (0.155, 0.100)),
        _Joint('spine_1', (0, -0.24, -0.01), (0.140, 0.095)),
        _Joint('spine_2', (0, -0.10, -0.01), (0.145, 0.100)),
        _Joint('spine_3', (0, 0.00, -0.01), (0.165, 0.105)),
        _Joint('neck', (0, 0.145, -0.02), (0.085, 0.060)),
    ),
    before=(0, -0.11, 0),
    after=(0, 0.03, 0),
    rings=25,
    columns=40,
)
ARM = _Tube(
    joints=(
        _Joint('collar', (0.06, 0.085, -0.02), (0.055, 0.060)),
        _Joint('shoulder', (0.17, 0.11, -0.02), (0.058, 0.058)),
        _Joint('elbow', (0.42, 0.11, -0.02), (0.042, 0.042)),
        _Joint('wrist', WRIST, (0.020, 0.028)),
    ),
    before=(-0.03, 0, 0),
    after=(0.004, 0, 0),
    rings=30,
    columns=20,
)
LEG = _Tube(
    joints=(
        _Joint('hip', (0.08, -0.44, 0.00), (0.085, 0.095)),
        _Joint('knee', (0.10, -0.83, 0.00), (0.056, 0.060)),
        _Joint('ankle', (0.10, -1.23, -0.03), (0.038, 0.044)),
    ),
    before=(0, 0.14, 0),
    after=(0, -0.04, 0),
    rings=40,
    columns=24,
)
FOOT = _Tube(
    joints=(
        _Joint('ankle', (0.10, -1.265, -0.03), (0.038, 0.038)),
        _Joint('foot', (0.12, -1.280, 0.09), (0.046, 0.026)),
    ),
    before=(0, 0, -0.04),
    after=(0.008, -0.004, 0.075),
    rings=15,
    columns=16,
)


class _Body:
    """Assembles the body from pieces, each with its skinning weights and rows of the joint regressor."""

    def __init__(self) -> None:
        self.vertices: list[np.ndarray] = []
        self.faces: list[np.ndarray] = []
        self.weights: list[np.ndarray] = []
        self.regressor: list[dict[int, float]] = [{} for _ in SMPLX_55]
        self.size = 0

    def add(self, vertices: np.ndarray, faces: np.ndarray, weights: np.ndarray) -> int:
        """Add a piece and return the number of its first vertex."""
        first = self.size
        self.vertices.append(vertices)
        self.faces.append(faces + first)
        self.weights.append(weights)
        self.size += len(vertices)
        return first

    def add_tube(self, tube: _Tube, side: str) -> None:
        """Add the trunk (side '') or a limb ('left' or 'right'), with those of its joints that no other piece gave."""
        mesh, rings, along, arcs = _build_tube(tube, closed=bool(side))
        numbers = [SMPLX_55.index(f'{side}_{joint.name}' if side else joint.name) for joint in tube.joints]
        arc_of = np.zeros(mesh.size)
        arc_of[np.array(rings)] = along[:, None]
        arc_of[np.max(rings) + 1] = arcs[-1]
        # For each joint but the first, 0 before it and 1 behind it.
        behind = [smoothstep((arc_of - arc) / 0.08 + 0.5) for arc in arcs[2:-1]]
        starts, ends = [np.ones(mesh.size), *behind], [*behind, np.zeros(mesh.size)]
        weights = np.zeros((mesh.size, len(SMPLX_55)))
        for number, start, end in zip(numbers, starts, ends, strict=True):
            weights[:, number] = start * (1 - end)
        weights /= weights.sum(1, keepdims=True)
        right = side == 'right'
        faces = mesh.faces[:, ::-1] if right else mesh.faces
        first = self.add(mesh.vertices * (MIRROR if right else 1), faces, weights)
        for number, arc in zip(numbers, arcs[1:-1], strict=True):
            if not self.regressor[number]:
                upper = int(np.clip(np.searchsorted(along, arc), 1, len(along) - 1))
                share = np.clip((arc - along[upper - 1]) / (along[upper] - along[upper - 1]), 0, 1)
                self.regressor[number] = {first + v: 1 - share for v in rings[upper - 1]}
                self.regressor[number].update({first + v: share for v in rings[upper]})

    def add_model(
        self, model: dict, keep: np.ndarray, joints: list[int], offset: np.ndarray, mirror: np.ndarray
    ) -> np.ndarray:
        """Add a head or a hand and close its hole.

        Args:
            model: Arrays of the head or the hand.
            keep: (V,) bool, the vertices to add.
            joints: SMPL-X's numbers of the model's first joints.
            offset: (3,) in metres.
            mirror: (3,) factors 1 or -1 of the coordinates.

        Returns:
            The number (V,) of each vertex in the body, -1 if it is dropped.
        """
        place = np.full(len(keep), -1)
        place[keep] = np.arange(keep.sum())
        faces = place[model['f'][keep[model['f']].all(1)]]
        edges = np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]))
        edge_set = set(map(tuple, edges))
        # An edge without its reverse lies on the border of the hole.
        hole = np.array([(b, a) for a, b in map(tuple, edges) if (b, a) not in edge_set])
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


def _build_tube(tube: _Tube, closed: bool) -> tuple[MeshBuilder, list[list[int]], np.ndarray, np.ndarray]:
    """Build the mesh of a tube. Its start is closed, or a small hole.

    Returns:
        The mesh, whose first vertices are the rings and the next one the far end; the rings; the length of the path at
        each ring; the lengths at the start, the joints and the end.
    """
    joints = tube.joints
    places = np.array([joint.place for joint in joints])
    path = np.concatenate((places[:1] + tube.before, places, places[-1:] + tube.after))
    arcs = np.concatenate(([0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))))
    sizes = np.array([joints[0].size, *(joint.size for joint in joints), joints[-1].size])
    along = np.linspace(0, arcs[-1], tube.rings + 2)[1:-1]
    angles = np.linspace(0, 2 * np.pi, tube.columns, endpoint=False)[:, None]
    mesh, rings = MeshBuilder(), []
    for arc in along:
        centre, further = (np.array([np.interp(at, arcs, path[:, k]) for k in range(3)]) for at in (arc, arc + 0.005))
        ahead = (further - centre) / np.linalg.norm(further - centre)
        # The ends are rounded over about the length of a half-width.
        end = min(1, min(arc, arcs[-1] - arc) / (0.6 * sizes.mean())) ** 0.5
        width, depth = (end * np.interp(arc, arcs, sizes[:, k]) for k in (0, 1))
        across = np.cross((0, 0, 1), ahead) if abs(ahead[2]) < 0.9 else np.array((-1.0, 0, 0))
        across /= np.linalg.norm(across)
        rings.append(
            mesh.add(centre + width * np.cos(angles) * across + depth * np.sin(angles) * np.cross(ahead, across))
        )
    for lower, upper in pairwise(rings):
        mesh.bridge(lower, upper)
    mesh.close(rings[-1], mesh.add(path[-1])[0])
    if closed:
        mesh.close(rings[0][::-1], mesh.add(path[0])[0])
    else:
        # The only hole of the body, with a radius of 1 cm.
        hole = mesh.add(path[0] + 0.01 * np.array(((1, 0, 0), (0, 0, -1), (-1, 0, 0), (0, 0, 1))))
        mesh.bridge(hole, rings[0])
    return mesh, rings, along, arcs


def body_arrays(hand: dict, head: dict, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Return the arrays of a SMPL-X file.

    Args:
        hand: Arrays of the synthetic hand.
        head: Arrays of the synthetic head.
        rng: Source of shapes and pose corrections.
    """
    pieces, head_place, hand_places = _assemble(hand, head)
    vertices = np.concatenate(pieces.vertices)
    regressor = np.zeros((len(SMPLX_55), len(vertices)))
    for row, entries in zip(regressor, pieces.regressor, strict=True):
        row[list(entries)] = list(entries.values())
    shapedirs = np.zeros((len(vertices), 3, NUM_SHAPE + NUM_EXPRESSION))
    shapedirs[..., :USED] = _shapes(vertices, rng)
    used, expressions = head_place >= 0, slice(NUM_SHAPE, NUM_SHAPE + USED)
    shapedirs[head_place[used], :, expressions] = head['shapedirs'][used, :, expressions]
    order = reordered(_vertex_joints(vertices, hand_places), len(vertices))
    place = np.argsort(order)
    parents = np.array(BODY_MODELS['smplx'].parents)
    weights = np.concatenate(pieces.weights)[order]
    return dict(
        v_template=vertices[order],
        shapedirs=shapedirs[order],
        posedirs=pose_blend_shapes(weights, parents.clip(min=0), rng),
        J_regressor=(regressor / regressor.sum(1, keepdims=True))[:, order],
        weights=weights,
        kintree_table=np.stack((np.where(parents < 0, 2**32 - 1, parents), np.arange(len(parents)))),
        f=place[np.concatenate(pieces.faces)],
        hands_meanr=hand['hands_mean'],
        hands_meanl=_mirrored(hand['hands_mean']),
        hands_componentsr=hand['hands_components'],
        hands_componentsl=_mirrored(hand['hands_components']),
        **_landmarks(head),
    )


def _assemble(hand: dict, head: dict) -> tuple[_Body, np.ndarray, dict[str, np.ndarray]]:
    """Assemble the body.

    Returns:
        The body, and the numbers of the vertices of the head and of the hand of each side in it, -1 for dropped ones.
    """
    body, number = _Body(), SMPLX_55.index
    # The skin of the head, which is connected with the neck, is added; the eyes are dropped.
    skin = head['weights'][:, 3:].sum(1) == 0
    head_place = body.add_model(head, skin, [number('neck'), number('head'), number('jaw')], HEAD_OFFSET, np.ones(3))
    body.regressor[number('neck')] = {}  # the trunk gives it
    hand_places = {}
    for side, mirror in (('left', MIRROR), ('right', np.ones(3))):
        joints = [number(f'{side}_wrist'), *range(number(f'{side}_index_1'), number(f'{side}_index_1') + 15)]
        wrist = np.array(WRIST) * (1 if side == 'left' else MIRROR)
        offset = wrist - (hand['J_regressor'][0] @ hand['v_template']) * mirror
        hand_places[side] = body.add_model(hand, np.ones(len(hand['weights']), bool), joints, offset, mirror)
    body.add_tube(TRUNK, '')
    for side in ('left', 'right'):
        for tube in (ARM, LEG, FOOT):
            body.add_tube(tube, side)
    vertices = np.concatenate(body.vertices)
    for side, sign in (('left', 1), ('right', -1)):
        distances = np.linalg.norm(vertices - (EYE * (sign, 1, 1) + HEAD_OFFSET), axis=1)
        body.regressor[number(f'{side}_eyeball')] = {int(vertex): 1.0 for vertex in distances.argsort()[:12]}
    return body, head_place, hand_places


def _mirrored(axis_angle: np.ndarray) -> np.ndarray:
    """Mirror axis-angle vectors (..., 45) of a hand's 15 joints: x stays, rotations about y and z change sign."""
    return (axis_angle.reshape(-1, 15, 3) * (1, -1, -1)).reshape(axis_angle.shape)


def _shapes(p: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the displacements (V, 3, 10) of each shape coefficient per standard deviation.

    They change size, girth, legs, arms, head, shoulders and belly; waves follow.
    """
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


def _vertex_joints(vertices: np.ndarray, hand_places: dict[str, np.ndarray]) -> dict[int, int]:
    """Return SMPL-X's numbers of the vertices that count as joints, by their numbers here."""
    places = dict(nose=(0, 0.26, 0.2), toe=(0.11, -1.29, 0.2), small_toe=(0.17, -1.28, 0.12), heel=(0.10, -1.30, -0.15))
    numbers = {}
    for name, wanted in SMPLX_VERTEX_JOINTS.items():
        side, _, part = name.partition('_')
        if part.endswith('_tip'):
            numbers[int(hand_places[side][TIP_VERTEX[part[:-4]]])] = wanted
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
    """Return the head's landmarks. The body's first triangles are those of the head without the eyes."""
    skin = head['weights'][:, 3:].sum(1) == 0
    place = np.cumsum(skin[head['f']].all(1)) - 1
    return dict(
        lmk_faces_idx=place[head['lmk_faces_idx']],
        lmk_bary_coords=head['lmk_bary_coords'],
        dynamic_lmk_faces_idx=place[head['dynamic_lmk_faces_idx']],
        dynamic_lmk_bary_coords=head['dynamic_lmk_bary_coords'],
    )
