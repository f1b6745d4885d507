"""Rendered crops of synthetic hands and faces in front of photographs, with their true labels."""

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

# Colours of skin from the darkest to the lightest, of hair and of the iris, RGB.
SKINS = np.array(((90, 58, 44), (140, 95, 70), (190, 138, 106), (220, 172, 140), (244, 206, 180)), float)
HAIR = np.array(((28, 22, 20), (70, 44, 28), (120, 84, 48), (190, 160, 100), (150, 150, 150)), float)
IRIS = np.array(((60, 36, 20), (70, 90, 50), (80, 120, 160)), float)
BATCH = 50
# Shape coefficients of the synthetic face that change its contour (width, length, jaw), and the number of named ones.
CONTOUR_SHAPES, NAMED_SHAPES = [1, 2, 4], 14
# Expression coefficients with the strongest effect (lips, smile, brows, pout), and the number of named ones.
STRONG_EXPRESSIONS, NAMED_EXPRESSIONS = [0, 1, 2, 4], 12


class Framing(NamedTuple):
    """The placement of a part of the body in its picture.

    Attributes:
        distance: Range of the camera's distance, in metres.
        share: Range of the share of the picture's side that the key points fill.
        shift: Largest shift of the key points from the middle, as a share of the side.
        first: Number of the first key point that must lie in the picture.
    """

    distance: tuple[float, float]
    share: tuple[float, float]
    shift: float
    first: int


HAND = Framing(distance=(0.45, 0.8), share=(0.66, 0.84), shift=0.05, first=0)
FACE = Framing(distance=(0.8, 1.6), share=(0.78, 0.92), shift=0.03, first=5)


class RenderedCrop(NamedTuple):
    """A rendered picture with its labels.

    Attributes:
        image: (S, S, 3) uint8, RGB.
        keypoints: (K, 2), x and y in pixels of the picture.
        joints: (K, 3) in the camera's frame, metres.
        vertices: (V, 3) in the camera's frame, metres.
        parameters: Axis-angle vectors (N, 3) in radians and coefficients, by HumanData's names.
    """

    image: np.ndarray
    keypoints: np.ndarray
    joints: np.ndarray
    vertices: np.ndarray
    parameters: dict[str, np.ndarray]


class _Posed(NamedTuple):
    """A sample with its random state, its parameters, and the posed vertices (V, 3) and joints (K, 3) in metres."""

    random: RandomState
    parameters: dict[str, np.ndarray]
    vertices: np.ndarray
    joints: np.ndarray


def hands(model: MANO, photos: list[np.ndarray], split: str, side: int, seeds: list) -> Iterator[RenderedCrop]:
    """Render a right hand for each seed.

    Args:
        model: The body model.
        photos: Photographs (H, W, 3) uint8 for the background.
        split: 'train' or 'val', which use different parts of the photographs.
        side: Height and width of the pictures in pixels.
        seeds: Seeds of the samples.

    Yields:
        A crop for each seed.
    """
    randoms = [RandomState(seed) for seed in seeds]
    mean = model.hands_mean.numpy().astype(float)
    parameters = [_hand_parameters(mean, random) for random in randoms]
    for posed in _posed(model, randoms, parameters):
        colours = _hand_colours(model, _skin(posed.random))
        yield _photograph(model, HAND, posed, colours, background(photos, split, posed.random), side)


def faces(model: FLAME, photos: list[np.ndarray], split: str, side: int, seeds: list) -> Iterator[RenderedCrop]:
    """Render a face for each seed; the arguments are those of ``hands``.

    Args:
        model: The body model.
        photos: Photographs for the background.
        split: 'train' or 'val'.
        side: Height and width of the pictures in pixels.
        seeds: Seeds of the samples.

    Yields:
        A crop for each seed.
    """
    randoms = [RandomState(seed) for seed in seeds]
    parameters = [_face_parameters(model, random) for random in randoms]
    paint = _FacePaint(model)
    for posed in _posed(model, randoms, parameters):
        colours = paint(_skin(posed.random), posed.random)
        yield _photograph(model, FACE, posed, colours, background(photos, split, posed.random), side)


def _hand_parameters(mean: np.ndarray, random: RandomState) -> dict[str, np.ndarray]:
    """Draw the parameters of a raised hand, seen between the palm and the thumb's side, from stretched to closed."""
    pose = np.zeros((15, 3))
    closed = random.rand()
    spread = random.uniform(-0.12, 0.25)
    # The first joint of the index, middle, little and ring finger, and its sideways rotation when the hand is spread.
    for first, aside in ((0, -1), (3, -0.2), (6, 1), (9, 0.5)):
        bend = 1.5 * (0.82 * closed + 0.18 * random.rand()) - 0.08
        pose[first : first + 3, 2] = bend * np.array((1, 1.1, 0.7)) + random.normal(0, 0.04, 3)
        pose[first, 1] = aside * spread * (1 - 0.6 * closed) + random.normal(0, 0.03)
    axis = mean[12] / np.linalg.norm(mean[12])
    bend = 0.75 * closed + 0.25 * random.rand()
    pose[12:15] = np.outer(bend * np.array((0.55, 0.75, 0.9)) - (0.05, 0.1, 0.1), axis) + random.normal(0, 0.03, (3, 3))
    # MANO has the fingers to -x and the palm down. Turn the fingers up and the palm to the viewer.
    upright = _turn(0, 0, np.pi / 2) @ _turn(np.pi / 2, 0, 0)
    view = _turn(random.uniform(-0.25, 0.25), 0, 0) @ _turn(0, random.uniform(0, 0.8), 0)
    orient = _turn(0, 0, random.normal(0, 0.15)) @ view @ upright
    return dict(global_orient=_vector(orient), right_hand_pose=pose, betas=random.normal(0, 0.7, 10).clip(-2.5, 2.5))


def _face_parameters(model: FLAME, random: RandomState) -> dict[str, np.ndarray]:
    """Draw the parameters of a face that looks past the camera, with strong features and an expression."""
    betas = random.normal(0, 0.1, model.num_betas)
    betas[:NAMED_SHAPES] = random.normal(0, 0.6, NAMED_SHAPES).clip(-2.5, 2.5)
    betas[CONTOUR_SHAPES] = random.uniform(-2.8, 2.8, len(CONTOUR_SHAPES))
    expression = random.normal(0, 0.1, model.num_expression)
    expression[:NAMED_EXPRESSIONS] = random.normal(0, 0.5, NAMED_EXPRESSIONS).clip(-2.5, 2.5)
    expression[STRONG_EXPRESSIONS] = random.normal(0, 1.2, len(STRONG_EXPRESSIONS)).clip(-2.5, 2.5)
    jaw = np.array((max(0, random.uniform(-0.1, 0.45)), random.normal(0, 0.02), 0))
    view = _turn(random.normal(0, 0.1), 0, 0) @ _turn(0, random.uniform(-0.45, 0.45), 0)
    # The model has y up, pictures have y down.
    orient = _turn(0, 0, random.normal(0, 0.08)) @ _turn(np.pi, 0, 0) @ view
    return dict(global_orient=_vector(orient), jaw_pose=jaw[None], betas=betas, expression=expression)


def _turn(x: float, y: float, z: float) -> np.ndarray:
    """Return the rotation matrix (3, 3) of an axis-angle vector."""
    return axis_angle_to_matrix(torch.tensor((x, y, z), dtype=torch.float64)).numpy()


def _vector(matrix: np.ndarray) -> np.ndarray:
    """Return the axis-angle vector (1, 3) of a rotation matrix (3, 3)."""
    return matrix_to_axis_angle(torch.from_numpy(matrix)).numpy()[None]


@torch.no_grad()
def _posed(model: BodyModel, randoms: list[RandomState], parameters: list[dict]) -> Iterator[_Posed]:
    """Pose the model, batch by batch."""
    for start in range(0, len(parameters), BATCH):
        batch = parameters[start : start + BATCH]
        inputs = {name: torch.tensor(np.stack([p[name] for p in batch]), dtype=torch.float32) for name in batch[0]}
        inputs = {n: v if n in ('betas', 'expression') else axis_angle_to_matrix(v) for n, v in inputs.items()}
        body = model(**inputs)
        arrays = (body['vertices'].numpy().astype(float), body['joints'].numpy().astype(float))
        yield from map(_Posed, randoms[start : start + BATCH], batch, *arrays)


def _photograph(
    model: BodyModel, framing: Framing, posed: _Posed, colours: np.ndarray, photo: np.ndarray, side: int
) -> RenderedCrop:
    """Render a posed body with vertex colours (V, 3) in front of a photograph (H, W, 3)."""
    random = posed.random
    framed = posed.joints[framing.first :]
    middle = (framed.max(0) + framed.min(0)) / 2
    move = np.array((0, 0, random.uniform(*framing.distance))) - middle
    vertices, joints = posed.vertices + move, posed.joints + move
    seen = perspective(joints[framing.first :], 1, (0, 0))[:, :2]
    low, high = seen.min(0), seen.max(0)
    focal = random.uniform(*framing.share) * side / (high - low).max()
    centre = (side - 1) / 2 + random.uniform(-framing.shift, framing.shift, 2) * side - focal * (low + high) / 2
    light = random.uniform((-1, -1, -1), (1, 0.4, -0.4))
    points = perspective(vertices, focal, centre)
    surface, opacity = render(vertices, points, model.faces.numpy(), colours, light, (side, side))
    image = composite(_square(photo, side), surface * random.uniform(0.95, 1.25), opacity)
    return RenderedCrop(image, perspective(joints, focal, centre)[:, :2], joints, vertices, posed.parameters)


def _square(photo: np.ndarray, side: int) -> np.ndarray:
    """Return the middle of a photograph, resized to (side, side, 3)."""
    height, width = photo.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    return cv2.resize(photo[top : top + short, left : left + short], (side, side), interpolation=cv2.INTER_AREA)


def _between(table: np.ndarray, place: float) -> np.ndarray:
    """Interpolate in a table of colours (N, 3), from the first at 0 to the last at 1."""
    return np.array([np.interp(place * (len(table) - 1), np.arange(len(table)), channel) for channel in table.T])


def _skin(random: RandomState) -> np.ndarray:
    """Draw a colour (3,) of skin."""
    return (_between(SKINS, random.rand()) * random.uniform(0.93, 1.07, 3)).clip(0, 255)


def _hand_colours(model: MANO, skin: np.ndarray) -> np.ndarray:
    """Return the colours (V, 3) of a hand. The palm is paler, and the fingers have nails on the back."""
    template = model.v_template.numpy().astype(float)
    up = vertex_normals(template, model.faces.numpy())[:, 1]
    pale = skin + 0.35 * (np.array((238, 190, 165)) - skin)
    colours = skin + ((0.3 - up) / 0.6).clip(0, 1)[:, None] * (pale - skin)
    tips = template[list(MANO_TIP_VERTICES)]
    near = np.linalg.norm(template[:, None] - tips[None], axis=-1).min(1) < 0.011
    colours[near & (up > 0.35)] = 0.5 * skin + 0.5 * np.array((245, 205, 195))
    return colours


class _FacePaint:
    """Paints the synthetic face. Landmarks give the places of brows, eyes and lips."""

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
        # Landmarks 31 to 42 are the outer edge of the lips, those from 43 on the inner edge.
        self.lips = (_near(points, _line(face[[*range(31, 43), 31]])) < 0.005) | (_near(points, face[43:51]) < 0.006)
        self.inside = (_near(points, face[43:51]) < 0.04) & (points[:, 2] < face[43:51, 2].min() - 0.004)
        self.inside &= (np.abs(points[:, 1] - face[43:51, 1].mean()) < 0.02) & (np.abs(points[:, 0]) < 0.024)
        self.hair = ((points[:, 1] > 0.07) | ((points[:, 2] < -0.03) & (points[:, 1] > -0.08))) & ~self.eyes

    def __call__(self, skin: np.ndarray, random: RandomState) -> np.ndarray:
        """Return the colours (V, 3) of a face with the given skin, and drawn hair, lips and iris."""
        hair = _between(HAIR, random.rand()) * random.uniform(0.85, 1.15)
        lips = skin + 0.45 * (np.array((170, 50, 60)) - skin)
        colours = np.tile(skin, (len(self.eyes), 1))
        bald = random.rand() < 0.15
        for region, colour in (
            (self.hair & (not bald), hair),
            (self.brows, 0.3 * skin + 0.7 * hair * 0.7),
            (self.lips, lips),
            (self.inside, np.array((70, 20, 22))),
            (self.eyes, np.array((235, 235, 232))),
            (self.iris, _between(IRIS, random.rand())),
        ):
            colours[region] = colour
        return colours.clip(0, 255)


def _line(points: np.ndarray) -> np.ndarray:
    """Interpolate points (4 N, 3) along the line through points (N, 3)."""
    places = np.linspace(0, len(points) - 1, 4 * len(points))
    return np.stack([np.interp(places, np.arange(len(points)), points[:, axis]) for axis in range(3)], 1)


def _near(points: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the distance (V,) of each point to the nearest of other points."""
    return np.linalg.norm(points[:, None] - others[None], axis=-1).min(1)
