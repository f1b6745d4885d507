"""Pictures of synthetic hands and faces in front of photographs, with all that is true of them."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.random import RandomState

from moganet.mini.scenes import background

from ..body_models.layers import FLAME, MANO, BodyModel
from ..models.conventions import MANO_TIP_VERTICES
from ..models.rotation import axis_angle_to_matrix, matrix_to_axis_angle
from .render import composite, perspective, render, vertex_normals

# Skins from the darkest to the lightest, RGB.
SKINS = np.array(((90, 58, 44), (140, 95, 70), (190, 138, 106), (220, 172, 140), (244, 206, 180)), float)
HAIR = np.array(((28, 22, 20), (70, 44, 28), (120, 84, 48), (190, 160, 100), (150, 150, 150)), float)
IRIS = np.array(((60, 36, 20), (70, 90, 50), (80, 120, 160)), float)
BATCH = 50
# Of the synthetic face: shapes that change its outline (width, length, jaw), expressions that change it most (lips,
# smile, brows, pout), and how many of either have a name; the rest are ripples.
OUTLINE, NAMED_SHAPES = [1, 2, 4], 14
STRONG, NAMED_EXPRESSIONS = [0, 1, 2, 4], 12


class Part(NamedTuple):
    """How a part of the body is photographed.

    Attributes:
        distance: Of the camera, in metres, from and to.
        share: Of the picture's side that the key points fill, from and to.
        shift: Of the key points from the middle, at most, as a share of the side.
        framed: The first of the key points that are framed.
    """

    distance: tuple[float, float]
    share: tuple[float, float]
    shift: float
    framed: int


HAND = Part(distance=(0.45, 0.8), share=(0.66, 0.84), shift=0.05, framed=0)
FACE = Part(distance=(0.8, 1.6), share=(0.78, 0.92), shift=0.03, framed=5)


class RenderedCrop(NamedTuple):
    """A square picture (S, S, 3) uint8, RGB, with key points (K, 2) in its pixels; the rest in the camera's frame.

    Attributes:
        joints: (K, 3) metres.
        vertices: (V, 3) metres.
        parameters: Axis-angle vectors (N, 3) and coefficients, by HumanData's names.
    """

    image: np.ndarray
    keypoints: np.ndarray
    joints: np.ndarray
    vertices: np.ndarray
    parameters: dict[str, np.ndarray]


def hands(model: MANO, photos: list[np.ndarray], split: str, side: int, seeds: list) -> Iterator[RenderedCrop]:
    """A right hand for each seed, in a picture of ``side`` pixels."""
    randoms = [RandomState(seed) for seed in seeds]
    mean = model.hands_mean.numpy().astype(float)
    parameters = [_hand_parameters(mean, random) for random in randoms]
    for random, chosen, vertices, joints in _posed(model, randoms, parameters):
        skin = _skin(random)
        colours = _hand_colours(model, skin)
        yield _photograph(
            model, HAND, (vertices, joints, colours), chosen, background(photos, split, random), side, random
        )


def faces(model: FLAME, photos: list[np.ndarray], split: str, side: int, seeds: list) -> Iterator[RenderedCrop]:
    """A face for each seed, in a picture of ``side`` pixels."""
    randoms = [RandomState(seed) for seed in seeds]
    parameters = [_face_parameters(model, random) for random in randoms]
    paint = _FacePaint(model)
    for random, chosen, vertices, joints in _posed(model, randoms, parameters):
        colours = paint(_skin(random), random)
        yield _photograph(
            model, FACE, (vertices, joints, colours), chosen, background(photos, split, random), side, random
        )


def _hand_parameters(mean: np.ndarray, random: RandomState) -> dict[str, np.ndarray]:
    """A hand held up, seen between the palm and the thumb's side, with fingers between stretched and closed."""
    pose = np.zeros((15, 3))
    together = random.rand()
    spread = random.uniform(-0.12, 0.25)
    # Joints of the index, middle, little and ring finger; how far each moves aside when the hand is spread.
    for first, aside in ((0, -1), (3, -0.2), (6, 1), (9, 0.5)):
        bend = 1.5 * (0.82 * together + 0.18 * random.rand()) - 0.08
        pose[first : first + 3, 2] = bend * np.array((1, 1.1, 0.7)) + random.normal(0, 0.04, 3)
        pose[first, 1] = aside * spread * (1 - 0.6 * together) + random.normal(0, 0.03)
    axis = mean[12] / np.linalg.norm(mean[12])
    bend = 0.75 * together + 0.25 * random.rand()
    pose[12:15] = np.outer(bend * np.array((0.55, 0.75, 0.9)) - (0.05, 0.1, 0.1), axis) + random.normal(0, 0.03, (3, 3))
    # Fingers to -x and the palm down become fingers up and the palm to the viewer.
    upright = _turn(0, 0, np.pi / 2) @ _turn(np.pi / 2, 0, 0)
    view = _turn(random.uniform(-0.25, 0.25), 0, 0) @ _turn(0, random.uniform(0, 0.8), 0)
    orient = _turn(0, 0, random.normal(0, 0.15)) @ view @ upright
    return dict(global_orient=_vector(orient), right_hand_pose=pose, betas=random.normal(0, 0.7, 10).clip(-2.5, 2.5))


def _face_parameters(model: FLAME, random: RandomState) -> dict[str, np.ndarray]:
    """A face that looks past the camera, with features that differ strongly and an expression."""
    betas = random.normal(0, 0.1, model.num_betas)
    betas[:NAMED_SHAPES] = random.normal(0, 0.6, NAMED_SHAPES).clip(-2.5, 2.5)
    betas[OUTLINE] = random.uniform(-2.8, 2.8, len(OUTLINE))
    expression = random.normal(0, 0.1, model.num_expression)
    expression[:NAMED_EXPRESSIONS] = random.normal(0, 0.5, NAMED_EXPRESSIONS).clip(-2.5, 2.5)
    expression[STRONG] = random.normal(0, 1.2, len(STRONG)).clip(-2.5, 2.5)
    jaw = np.array((max(0, random.uniform(-0.1, 0.45)), random.normal(0, 0.02), 0))
    view = _turn(random.normal(0, 0.1), 0, 0) @ _turn(0, random.uniform(-0.45, 0.45), 0)
    # The model has y up, pictures have it down.
    orient = _turn(0, 0, random.normal(0, 0.08)) @ _turn(np.pi, 0, 0) @ view
    return dict(global_orient=_vector(orient), jaw_pose=jaw[None], betas=betas, expression=expression)


def _turn(x: float, y: float, z: float) -> np.ndarray:
    """The matrix of a turn by an axis-angle vector."""
    return axis_angle_to_matrix(torch.tensor((x, y, z), dtype=torch.float64)).numpy()


def _vector(matrix: np.ndarray) -> np.ndarray:
    """The axis-angle vector (1, 3) of a turn."""
    return matrix_to_axis_angle(torch.from_numpy(matrix)).numpy()[None]


@torch.no_grad()
def _posed(
    model: BodyModel, randoms: list[RandomState], parameters: list[dict]
) -> Iterator[tuple[RandomState, dict, np.ndarray, np.ndarray]]:
    """Each sample's random state and parameters with the vertices and joints that the model has for them."""
    for start in range(0, len(parameters), BATCH):
        batch = parameters[start : start + BATCH]
        inputs = {name: torch.tensor(np.stack([p[name] for p in batch]), dtype=torch.float32) for name in batch[0]}
        inputs = {n: v if n in ('betas', 'expression') else axis_angle_to_matrix(v) for n, v in inputs.items()}
        body = model(**inputs)
        found = (body['vertices'].numpy().astype(float), body['joints'].numpy().astype(float))
        yield from zip(randoms[start : start + BATCH], batch, *found, strict=True)


def _photograph(
    model: BodyModel, part: Part, body: tuple, parameters: dict, photo: np.ndarray, side: int, random: RandomState
) -> RenderedCrop:
    """Place a posed body (vertices, joints, colours) before the camera and photograph it."""
    vertices, joints, colours = body
    framed = joints[part.framed :]
    middle = (framed.max(0) + framed.min(0)) / 2
    move = np.array((0, 0, random.uniform(*part.distance))) - middle
    vertices, joints = vertices + move, joints + move
    seen = perspective(joints[part.framed :], 1, (0, 0))[:, :2]
    low, high = seen.min(0), seen.max(0)
    focal = random.uniform(*part.share) * side / (high - low).max()
    centre = (side - 1) / 2 + random.uniform(-part.shift, part.shift, 2) * side - focal * (low + high) / 2
    light = random.uniform((-1, -1, -1), (1, 0.4, -0.4))
    points = perspective(vertices, focal, centre)
    surface, opacity = render(vertices, points, model.faces.numpy(), colours, light, (side, side))
    image = composite(_square(photo, side), surface * random.uniform(0.95, 1.25), opacity)
    return RenderedCrop(image, perspective(joints, focal, centre)[:, :2], joints, vertices, parameters)


def _square(photo: np.ndarray, side: int) -> np.ndarray:
    """The middle of a photograph, (side, side, 3)."""
    height, width = photo.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    return cv2.resize(photo[top : top + short, left : left + short], (side, side), interpolation=cv2.INTER_AREA)


def _between(table: np.ndarray, place: float) -> np.ndarray:
    """A colour of a table, at 0 the first and at 1 the last."""
    return np.array([np.interp(place * (len(table) - 1), np.arange(len(table)), channel) for channel in table.T])


def _skin(random: RandomState) -> np.ndarray:
    return (_between(SKINS, random.rand()) * random.uniform(0.93, 1.07, 3)).clip(0, 255)


def _hand_colours(model: MANO, skin: np.ndarray) -> np.ndarray:
    """(V, 3): the palm is paler, and the fingers have nails on the back."""
    template = model.v_template.numpy().astype(float)
    up = vertex_normals(template, model.faces.numpy())[:, 1]
    pale = skin + 0.35 * (np.array((238, 190, 165)) - skin)
    colours = skin + ((0.3 - up) / 0.6).clip(0, 1)[:, None] * (pale - skin)
    tips = template[list(MANO_TIP_VERTICES)]
    near = np.linalg.norm(template[:, None] - tips[None], axis=-1).min(1) < 0.011
    colours[near & (up > 0.35)] = 0.5 * skin + 0.5 * np.array((245, 205, 195))
    return colours


class _FacePaint:
    """Colours of the synthetic face: its skin, hair, brows, eyes and lips lie where the landmarks say."""

    def __init__(self, model: FLAME) -> None:
        points = model.v_template.numpy().astype(float)
        with torch.no_grad():
            face = model(torch.eye(3)[None, None])['joints'][0, 5:].numpy().astype(float)
        weights = model.weights.numpy()
        self.eyes = weights[:, 3:].max(1) > 0.5
        centres = model.j_template.numpy()[3:]
        ahead = (points[:, None] - centres)[..., 2].max(1)
        self.iris = self.eyes & (ahead > 0.0118)
        brows = np.concatenate([_line(face[:5]), _line(face[5:10])])
        self.brows = _near(points, brows) < 0.0055
        # 31 to 42 are the outer edge of the lips, from 43 on the inner one.
        self.lips = (_near(points, _line(face[[*range(31, 43), 31]])) < 0.005) | (_near(points, face[43:51]) < 0.006)
        self.inside = (_near(points, face[43:51]) < 0.04) & (points[:, 2] < face[43:51, 2].min() - 0.004)
        self.inside &= (np.abs(points[:, 1] - face[43:51, 1].mean()) < 0.02) & (np.abs(points[:, 0]) < 0.024)
        self.hair = ((points[:, 1] > 0.07) | ((points[:, 2] < -0.03) & (points[:, 1] > -0.08))) & ~self.eyes

    def __call__(self, skin: np.ndarray, random: RandomState) -> np.ndarray:
        """(V, 3), RGB."""
        hair = _between(HAIR, random.rand()) * random.uniform(0.85, 1.15)
        lips = skin + 0.45 * (np.array((170, 50, 60)) - skin)
        colours = np.tile(skin, (len(self.eyes), 1))
        bald = random.rand() < 0.15
        for where, colour in (
            (self.hair & (not bald), hair),
            (self.brows, 0.3 * skin + 0.7 * hair * 0.7),
            (self.lips, lips),
            (self.inside, np.array((70, 20, 22))),
            (self.eyes, np.array((235, 235, 232))),
            (self.iris, _between(IRIS, random.rand())),
        ):
            colours[where] = colour
        return colours.clip(0, 255)


def _line(points: np.ndarray) -> np.ndarray:
    """Points along a line through points (N, 3)."""
    places = np.linspace(0, len(points) - 1, 4 * len(points))
    return np.stack([np.interp(places, np.arange(len(points)), points[:, axis]) for axis in range(3)], 1)


def _near(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """(V,) distances to the nearest of other points."""
    return np.linalg.norm(points[:, None] - others[None], axis=-1).min(1)
