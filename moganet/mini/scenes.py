"""Scenes of the mini data: photographs with digits pasted on them like stickers, and the visible mask of each digit."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib.colors import hsv_to_rgb
from numpy.random import RandomState
from PIL import Image

from .digits import Digits, load_digit_splits

SEED = 0
DIGITS_PER_IMAGE = (4, 11)
SIZES = ((256, 192), (192, 256), (224, 224), (256, 208))  # width, height of images in pixels
DIGIT_SIDE = (36, 96)  # pixels
CROWD_SIDE, CROWD_COUNT = (26, 34), (8, 14)  # pixels of a digit, digits of a crowd
MAX_ANGLE = 25  # degrees: 6 and 9 stay distinct
MIN_VISIBLE = 0.65  # share of a sticker that later stickers leave visible
# The left of each photograph is for train, the rest for val, so that the splits share no pixel.
TRAIN_SHARE = 0.62


class SceneObject(NamedTuple):
    """A digit of a scene, or a crowd of digits, as an annotation describes it.

    Attributes:
        label: The class, 0 to 9.
        mask: Visible pixels, (H, W) bool.
        crowd: True for a crowd.
    """

    label: int
    mask: np.ndarray
    crowd: bool


def load_photos() -> list[np.ndarray]:
    """Return the colour photographs, (H, W, 3) uint8, in the wheels of scikit-learn and scikit-image."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    return [
        *load_sample_images().images,
        *(data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.hubble_deep_field()),
        data.stereo_motorcycle()[0],
    ]


def background(photos: list[np.ndarray], split: str, random: RandomState) -> np.ndarray:
    """Crop a random photograph.

    Args:
        photos: Photographs, (H, W, 3) uint8.
        split: 'train' crops the left of the photograph, 'val' the rest.
        random: Source of random numbers.

    Returns:
        (H, W, 3) float32, 0 to 255, in one of ``SIZES``.
    """
    photo = photos[random.randint(len(photos))]
    seam = int(photo.shape[1] * TRAIN_SHARE)
    usable = photo[:, :seam] if split == 'train' else photo[:, seam:]
    size = np.array(SIZES[random.randint(len(SIZES))])
    largest = min(usable.shape[1] / size[0], usable.shape[0] / size[1])
    width, height = (size * largest * random.uniform(0.6, 1)).astype(int)
    left, top = random.randint(usable.shape[1] - width + 1), random.randint(usable.shape[0] - height + 1)
    crop = Image.fromarray(np.ascontiguousarray(usable[top : top + height, left : left + width]))
    return np.asarray(crop.resize(tuple(size), Image.Resampling.BICUBIC)).astype(np.float32)


def sticker(digit: np.ndarray, side: int, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Make a sticker of a digit.

    Args:
        digit: (8, 8) uint8; 255 is ink.
        side: Side of the digit in pixels.
        angle: Rotation in degrees.

    Returns:
        Opacity, 0 to 1, of the ink and of the paper cut out around the ink: two square arrays of one size.
    """
    margin = side // 2
    large = Image.fromarray(digit).resize((side, side), Image.Resampling.BICUBIC)
    canvas = Image.new('L', (side + 2 * margin,) * 2)
    canvas.paste(large, (margin, margin))
    levels = np.asarray(canvas.rotate(angle, Image.Resampling.BICUBIC), np.float32) / 255
    ink = np.clip((levels - 0.4) / 0.2, 0, 1)
    reach = max(2, side // 14)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    paper = cv2.GaussianBlur(cv2.dilate((ink > 0.5).astype(np.float32), disk), (0, 0), 0.7)
    return ink, paper


def colours(random: RandomState) -> tuple[np.ndarray, np.ndarray]:
    """Return random RGB colours, 0 to 255, of ink and paper: strong on pale, or pale on strong."""
    hue = random.rand()
    strong = hsv_to_rgb((hue, random.uniform(0.7, 1), random.uniform(0.35, 0.75)))
    pale = hsv_to_rgb(((hue + random.uniform(0.3, 0.7)) % 1, random.uniform(0, 0.25), random.uniform(0.9, 1)))
    ink, paper = (strong, pale) if random.rand() < 0.6 else (pale, strong)
    return 255 * ink, 255 * paper


def placed(opacity: np.ndarray, centre: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """Return a square array placed at ``centre`` (x, y) on zeros of ``shape`` (H, W); pixels outside are cut off."""
    radius = opacity.shape[0] // 2
    canvas = np.zeros((shape[0] + 4 * radius, shape[1] + 4 * radius), np.float32)
    top, left = centre[1] + radius, centre[0] + radius
    canvas[top : top + opacity.shape[0], left : left + opacity.shape[1]] = opacity
    return canvas[2 * radius : 2 * radius + shape[0], 2 * radius : 2 * radius + shape[1]]


class Scene:
    """An image on which digits are pasted, later ones over earlier ones.

    Args:
        image: (H, W, 3) float32, 0 to 255; changed in place.
        random: Source of random numbers.

    Attributes:
        objects: The digits and crowds so far.
        areas: Pixels of each object before others covered it.
    """

    def __init__(self, image: np.ndarray, random: RandomState) -> None:
        self.image, self.random = image, random
        self.objects: list[SceneObject] = []
        self.areas: list[int] = []

    def paste(self, digit: np.ndarray, label: int, side: int, centre: tuple[int, int]) -> bool:
        """Paste one digit, unless it would be cut off or cover another object too much.

        Args:
            digit: (8, 8) uint8; 255 is ink.
            label: Its class.
            side: Its side in pixels.
            centre: (x, y) in pixels.

        Returns:
            True if the digit was pasted.
        """
        ink, paper = sticker(digit, side, self.random.uniform(-MAX_ANGLE, MAX_ANGLE))
        area = int((paper > 0.5).sum())
        layers = [placed(layer, centre, self.image.shape[:2]) for layer in (paper, ink)]
        mask = layers[0] > 0.5
        if mask.sum() < 0.8 * area:
            return False
        covered = [other._replace(mask=other.mask & ~mask) for other in self.objects]
        if any(other.mask.sum() < MIN_VISIBLE * full for other, full in zip(covered, self.areas, strict=True)):
            return False
        self.objects = [*covered, SceneObject(label, mask, False)]
        self.areas.append(area)
        for layer, colour in zip(layers, reversed(colours(self.random)), strict=True):
            self.image += layer[..., None] * (colour - self.image)
        return True

    def paste_anywhere(self, digit: np.ndarray, label: int, tries: int = 10) -> None:
        """Paste one digit at a random place, a quarter of the time beside or over the last object.

        Args:
            digit: (8, 8) uint8; 255 is ink.
            label: Its class.
            tries: Number of places to try; if all fail, the digit is left out.
        """
        height, width = self.image.shape[:2]
        for _ in range(tries):
            side = int(np.exp(self.random.uniform(*np.log(DIGIT_SIDE))))
            centre = self.random.randint(0, width), self.random.randint(0, height)
            if self.objects and self.random.rand() < 1 / 4:
                rows, columns = np.nonzero(self.objects[-1].mask)
                x, y = (np.array((columns.mean(), rows.mean())) + self.random.uniform(-side, side, 2)).astype(int)
                centre = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
            if self.paste(digit, label, side, centre):
                return

    def paste_crowd(self, digits: np.ndarray, label: int) -> None:
        """Paste small digits (N, 8, 8) of one class over each other; together they are one object, a crowd."""
        height, width = self.image.shape[:2]
        middle = self.random.uniform(0.25, 0.75, 2) * (width, height)
        first = len(self.objects)
        for digit in digits:
            centre = (middle + self.random.normal(0, CROWD_SIDE[1] * 0.8, 2)).clip(0, (width - 1, height - 1))
            self.paste(digit, label, self.random.randint(*CROWD_SIDE), tuple(centre.astype(int)))
        members = self.objects[first:]
        if members:
            mask = np.logical_or.reduce([member.mask for member in members])
            self.objects[first:] = [SceneObject(label, mask, True)]
            self.areas[first:] = [int(mask.sum())]


def compose(photos: list[np.ndarray], digits: Digits, picks: np.ndarray, split: str, random: RandomState) -> Scene:
    """Compose one scene; one in ten has a crowd as well.

    Args:
        photos: Photographs, (H, W, 3) uint8.
        digits: The digits of the split.
        picks: Indices into ``digits``, in the order of pasting.
        split: 'train' or 'val'.
        random: Source of random numbers.
    """
    scene = Scene(background(photos, split, random), random)
    if random.rand() < 0.1:
        label = random.randint(10)
        same = np.flatnonzero(digits.labels == label)
        scene.paste_crowd(digits.images[random.choice(same, random.randint(*CROWD_COUNT))], label)
    for pick in picks:
        scene.paste_anywhere(digits.images[pick], int(digits.labels[pick]))
    return scene


def generate(split: str, number: int) -> Iterator[tuple[int, np.ndarray, Scene]]:
    """Generate the first scenes of a split, the same ones for every task.

    Args:
        split: 'train' or 'val'.
        number: Number of scenes.

    Yields:
        The scene's number from 1 on, its pixels (H, W, 3) uint8 RGB, and the scene.
    """
    photos, digits = load_photos(), load_digit_splits()[split]
    seed = [SEED, ('train', 'val').index(split)]
    # Each digit is used once before any is used again.
    order = np.random.RandomState(seed).permutation(len(digits.labels))
    used = 0
    for image_id in range(1, number + 1):
        random = np.random.RandomState([*seed, image_id])
        count = random.randint(*DIGITS_PER_IMAGE)
        scene = compose(photos, digits, order.take(range(used, used + count), mode='wrap'), split, random)
        used += count
        yield image_id, scene.image.round().clip(0, 255).astype(np.uint8), scene
