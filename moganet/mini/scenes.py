"""Scenes for the mini data: photographs with scanned digits pasted on them like stickers, and what is seen of each."""

from collections.abc import Iterator
from typing import NamedTuple

import cv2
import numpy as np
from matplotlib.colors import hsv_to_rgb
from numpy.random import RandomState
from PIL import Image

from .digits import Scans, load_scans

SEED = 0
DIGITS_PER_IMAGE = (4, 11)
SIZES = ((256, 192), (192, 256), (224, 224), (256, 208))  # width, height of images in pixels
DIGIT_SIDE = (36, 96)  # of a digit's scan, in pixels
CROWD_SIDE, CROWD_COUNT = (26, 34), (8, 14)
MAX_ANGLE = 25  # degrees: 6 and 9 stay what they are
MIN_VISIBLE = 0.65  # share of a sticker that later ones leave visible
# The left of each photograph is for train and the rest for val, so that they share no pixel.
TRAIN_SHARE = 0.62


class Thing(NamedTuple):
    """What an annotation tells of a digit, or of a heap of them: its class and its visible pixels (H, W) bool."""

    label: int
    mask: np.ndarray
    crowd: bool


def load_photos() -> list[np.ndarray]:
    """The colour photographs (H, W, 3) that the wheels of scikit-learn and scikit-image hold."""
    from skimage import data
    from sklearn.datasets import load_sample_images

    return [
        *load_sample_images().images,
        *(data.astronaut(), data.chelsea(), data.coffee(), data.rocket(), data.hubble_deep_field()),
        data.stereo_motorcycle()[0],
    ]


def background(photos: list[np.ndarray], split: str, random: RandomState) -> np.ndarray:
    """A random crop of the split's part of a random photograph, (H, W, 3) in one of ``SIZES``."""
    photo = photos[random.randint(len(photos))]
    seam = int(photo.shape[1] * TRAIN_SHARE)
    part = photo[:, :seam] if split == 'train' else photo[:, seam:]
    size = np.array(SIZES[random.randint(len(SIZES))])
    largest = min(part.shape[1] / size[0], part.shape[0] / size[1])
    width, height = (size * largest * random.uniform(0.6, 1)).astype(int)
    left, top = random.randint(part.shape[1] - width + 1), random.randint(part.shape[0] - height + 1)
    crop = Image.fromarray(np.ascontiguousarray(part[top : top + height, left : left + width]))
    return np.asarray(crop.resize(tuple(size), Image.Resampling.BICUBIC)).astype(np.float32)


def sticker(scan: np.ndarray, side: int, angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Opacity, 0 to 1, of the ink of a scan and of the paper cut out around it: two square arrays of one size."""
    margin = side // 2
    large = Image.fromarray(scan).resize((side, side), Image.Resampling.BICUBIC)
    canvas = Image.new('L', (side + 2 * margin,) * 2)
    canvas.paste(large, (margin, margin))
    levels = np.asarray(canvas.rotate(angle, Image.Resampling.BICUBIC), np.float32) / 255
    ink = np.clip((levels - 0.4) / 0.2, 0, 1)
    reach = max(2, side // 14)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1,) * 2)
    paper = cv2.GaussianBlur(cv2.dilate((ink > 0.5).astype(np.float32), disk), (0, 0), 0.7)
    return ink, paper


def colours(random: RandomState) -> tuple[np.ndarray, np.ndarray]:
    """RGB, 0 to 255, of ink and paper: strong on pale, or pale on strong."""
    hue = random.rand()
    strong = hsv_to_rgb((hue, random.uniform(0.7, 1), random.uniform(0.35, 0.75)))
    pale = hsv_to_rgb(((hue + random.uniform(0.3, 0.7)) % 1, random.uniform(0, 0.25), random.uniform(0.9, 1)))
    ink, paper = (strong, pale) if random.rand() < 0.6 else (pale, strong)
    return 255 * ink, 255 * paper


def placed(opacity: np.ndarray, centre: tuple[int, int], shape: tuple[int, int]) -> np.ndarray:
    """A square array moved to ``centre`` (x, y) on zeros of ``shape`` (H, W); what lies outside is cut off."""
    half = opacity.shape[0] // 2
    whole = np.zeros((shape[0] + 4 * half, shape[1] + 4 * half), np.float32)
    top, left = centre[1] + half, centre[0] + half
    whole[top : top + opacity.shape[0], left : left + opacity.shape[1]] = opacity
    return whole[2 * half : 2 * half + shape[0], 2 * half : 2 * half + shape[1]]


class Scene:
    """An image that digits are pasted on, later ones over earlier ones."""

    def __init__(self, image: np.ndarray, random: RandomState):
        self.image, self.random = image, random
        self.things: list[Thing] = []
        self.whole: list[int] = []  # pixels of each thing before others covered it

    def paste(self, scan: np.ndarray, label: int, side: int, centre: tuple[int, int]) -> bool:
        """Paste one digit; False, and nothing is done, if it would be cut off or cover another one too much."""
        ink, paper = sticker(scan, side, self.random.uniform(-MAX_ANGLE, MAX_ANGLE))
        full = int((paper > 0.5).sum())
        layers = [placed(layer, centre, self.image.shape[:2]) for layer in (paper, ink)]
        mask = layers[0] > 0.5
        if mask.sum() < 0.8 * full:
            return False
        left = [thing._replace(mask=thing.mask & ~mask) for thing in self.things]
        if any(thing.mask.sum() < MIN_VISIBLE * whole for thing, whole in zip(left, self.whole, strict=True)):
            return False
        self.things = [*left, Thing(label, mask, False)]
        self.whole.append(full)
        for layer, colour in zip(layers, reversed(colours(self.random)), strict=True):
            self.image += layer[..., None] * (colour - self.image)
        return True

    def paste_anywhere(self, scan: np.ndarray, label: int, tries: int = 10) -> None:
        """Paste one digit at random; each fourth one beside or over an earlier one. None if there is no room."""
        height, width = self.image.shape[:2]
        for _ in range(tries):
            side = int(np.exp(self.random.uniform(*np.log(DIGIT_SIDE))))
            centre = self.random.randint(0, width), self.random.randint(0, height)
            if self.things and self.random.rand() < 1 / 4:
                rows, columns = np.nonzero(self.things[-1].mask)
                centre = tuple(
                    (np.array((columns.mean(), rows.mean())) + self.random.uniform(-side, side, 2)).astype(int)
                )
                centre = min(max(centre[0], 0), width - 1), min(max(centre[1], 0), height - 1)
            if self.paste(scan, label, side, centre):
                return

    def paste_heap(self, scans: np.ndarray, label: int) -> None:
        """Paste small digits of one class in a heap and take them for one crowd."""
        height, width = self.image.shape[:2]
        middle = self.random.uniform(0.25, 0.75, 2) * (width, height)
        first = len(self.things)
        for scan in scans:
            centre = (middle + self.random.normal(0, CROWD_SIDE[1] * 0.8, 2)).clip(0, (width - 1, height - 1))
            self.paste(scan, label, self.random.randint(*CROWD_SIDE), tuple(centre.astype(int)))
        heap = self.things[first:]
        if heap:
            mask = np.logical_or.reduce([thing.mask for thing in heap])
            self.things[first:] = [Thing(label, mask, True)]
            self.whole[first:] = [int(mask.sum())]


def compose(photos: list[np.ndarray], scans: Scans, picks: np.ndarray, split: str, random: RandomState) -> Scene:
    """A scene with the digits ``picks`` of ``scans``; one in ten has a crowd as well."""
    scene = Scene(background(photos, split, random), random)
    if random.rand() < 0.1:
        label = random.randint(10)
        same = np.flatnonzero(scans.labels == label)
        scene.paste_heap(scans.images[random.choice(same, random.randint(*CROWD_COUNT))], label)
    for pick in picks:
        scene.paste_anywhere(scans.images[pick], int(scans.labels[pick]))
    return scene


def generate(split: str, number: int) -> Iterator[tuple[int, np.ndarray, Scene]]:
    """The first ``number`` scenes of 'train' or 'val', the same ones for every task.

    Yields:
        The scene's number from 1 on, its pixels (H, W, 3) uint8 RGB, and what is on it.
    """
    photos, scans = load_photos(), load_scans()[split]
    seed = [SEED, ('train', 'val').index(split)]
    # Each scan is used once before any is used again.
    order = np.random.RandomState(seed).permutation(len(scans.labels))
    used = 0
    for image_id in range(1, number + 1):
        random = np.random.RandomState([*seed, image_id])
        count = random.randint(*DIGITS_PER_IMAGE)
        scene = compose(photos, scans, order.take(range(used, used + count), mode='wrap'), split, random)
        used += count
        yield image_id, scene.image.round().clip(0, 255).astype(np.uint8), scene
