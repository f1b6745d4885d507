"""Mini data for 2D pose: articulated figures on photographs, in the folder layout of COCO's keypoints."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from mmengine.config import Config
from numpy.random import RandomState
from PIL import Image
from xtcocotools import mask as run_lengths

from moganet.io.files import atomic_directory
from moganet.mini.scenes import background, load_photos
from moganet.run.config import DATALOADERS, EVALUATORS, dicts

from ..boxes import DETECTIONS
from .articulated_figures import JOINTS, draw_figure

ROOT = 'data/mini/pose'
NUM_IMAGES = dict(train=600, val=80)
SEED = 0
FIGURES_PER_IMAGE = (3, 6)
HEIGHT = (70, 170)  # of a figure that stands upright, in pixels
# Distant figures have no keypoints, as in COCO. There are single ones, and crowds that are one annotation.
FAR_HEIGHT, FAR_CHANCE = (26, 40), 0.15
CROWD_COUNT, CROWD_CHANCE = (6, 11), 0.1
MIN_VISIBLE = 0.6  # smallest share of a figure that is inside the image and not covered by another figure
SKELETON = (
    *((16, 14), (14, 12), (17, 15), (15, 13), (12, 13), (6, 12), (7, 13), (6, 7), (6, 8), (7, 9), (8, 10), (9, 11)),
    *((2, 3), (1, 2), (1, 3), (2, 4), (3, 5), (4, 6), (5, 7)),
)
# Metrics that read no annotation file.
SAMPLE_METRICS = ('PCKAccuracy', 'AUC', 'EPE', 'NME')


class Person(NamedTuple):
    """The content of an annotation.

    Attributes:
        mask: (H, W) bool, the visible pixels.
        keypoints: (17, 3), x and y in pixels and COCO's visibility, 0 to 2.
        crowd: True for a crowd.
    """

    mask: np.ndarray
    keypoints: np.ndarray
    crowd: bool = False


def make(root: str | Path = ROOT) -> str:
    """Write the images, annotations and detections, unless they exist.

    All of it is computed from a fixed seed. The validation set uses other parts of the photographs than the training
    set. The folder appears whole or not at all.

    Args:
        root: Folder of the data.

    Returns:
        A summary of one line.

    Raises:
        ValueError: The folder exists and holds other files.
    """
    root = Path(root)
    counts = ' and '.join(f'{number} {split}' for split, number in NUM_IMAGES.items())
    summary = f'{root}: {counts} photographs with articulated figures of {len(JOINTS)} joints'
    if all(_annotations(root, split).is_file() for split in NUM_IMAGES) and (root / DETECTIONS).is_file():
        return summary
    with atomic_directory(root) as partial:
        photos = load_photos()
        for split in NUM_IMAGES:
            annotations = _write_split(partial, split, photos)
        (partial / DETECTIONS).parent.mkdir()
        (partial / DETECTIONS).write_text(json.dumps(_detections(annotations)))
    return summary


def _annotations(root: Path, split: str) -> Path:
    return root / 'annotations' / f'person_keypoints_{split}2017.json'


def _write_split(root: Path, split: str, photos: list[np.ndarray]) -> list[dict]:
    """Write images and annotations of a set and return the annotations."""
    images: list[dict] = []
    annotations: list[dict] = []
    folder = root / f'{split}2017'
    folder.mkdir(parents=True)
    for image_id in range(1, NUM_IMAGES[split] + 1):
        random = RandomState([SEED, list(NUM_IMAGES).index(split), image_id])
        pixels, people = compose(photos, split, random)
        name = f'{image_id:012d}.jpg'
        Image.fromarray(pixels).save(folder / name, quality=92)
        images.append(dict(id=image_id, file_name=name, height=pixels.shape[0], width=pixels.shape[1]))
        annotations += [_describe(person, image_id, len(annotations) + 1 + i) for i, person in enumerate(people)]
    person = dict(id=1, name='person', supercategory='person', keypoints=JOINTS, skeleton=SKELETON)
    info = dict(description='articulated figures on photographs (scikit-learn, scikit-image)')
    path = _annotations(root, split)
    path.parent.mkdir(exist_ok=True)
    content = dict(info=info, licenses=[], images=images, annotations=annotations, categories=[person])
    path.write_text(json.dumps(content))
    return annotations


def compose(photos: list[np.ndarray], split: str, random: RandomState) -> tuple[np.ndarray, list[Person]]:
    """Draw an image with figures, distant ones first.

    Args:
        photos: Photographs (H, W, 3) uint8 for the background.
        split: 'train' or 'val', which use different parts of the photographs.
        random: Source of the image.

    Returns:
        The image (H, W, 3) uint8, RGB, and its persons.
    """
    scene = _Scene(background(photos, split, random), random)
    if random.rand() < CROWD_CHANCE:
        scene.add_crowd()
    if random.rand() < FAR_CHANCE:
        scene.add(random.uniform(*FAR_HEIGHT), labelled=False)
    lowest, highest = np.log(HEIGHT)
    for height in np.exp(random.uniform(lowest, highest, random.randint(*FIGURES_PER_IMAGE))):
        scene.add(height)
    return scene.image.round().clip(0, 255).astype(np.uint8), scene.people


class _Scene:
    """An image (H, W, 3) float with the figures that were drawn on it."""

    def __init__(self, image: np.ndarray, random: RandomState) -> None:
        self.image, self.random = image, random
        self.people: list[Person] = []
        self.areas: list[int] = []  # pixels of each figure if it were neither covered nor cut off

    def add(self, height: float, labelled: bool = True, centre: np.ndarray | None = None, tries: int = 5) -> None:
        """Draw a figure over the earlier ones, at random or around ``centre``, unless there is no room for it."""
        size = np.array(self.image.shape[1::-1])
        figure = draw_figure(height, self.random)
        area = int((figure.opacity > 0.5).sum())
        for _ in range(tries):
            middle = (
                self.random.uniform(0.1, 0.9, 2) * size if centre is None else centre + self.random.normal(0, 25, 2)
            )
            if centre is None and self.people and self.random.rand() < 0.4:
                # Place it beside or over the previous figure, so that people overlap as in a group.
                rows, columns = np.nonzero(self.people[-1].mask)
                middle = np.array((columns.mean(), rows.mean())) + self.random.uniform(-0.5, 0.5, 2) * height
            corner = np.round(middle - np.array(figure.opacity.shape[::-1]) / 2).astype(int)
            opacity = _placed(figure.opacity, corner, size)
            mask = opacity > 0.5
            left = [person._replace(mask=person.mask & ~mask) for person in self.people]
            visible = [person.mask.sum() for person in left] + [mask.sum()]
            if all(seen >= MIN_VISIBLE * total for seen, total in zip(visible, [*self.areas, area], strict=True)):
                break
        else:
            return
        image = np.stack([_placed(channel, corner, size) for channel in np.moveaxis(figure.image, -1, 0)], -1)
        self.image += opacity[..., None] * (image - self.image)
        joints = np.round(figure.joints + corner).astype(int)
        inside = ((joints >= 0) & (joints < size)).all(1) & labelled
        joints *= inside[:, None]
        seen = mask[joints[:, 1], joints[:, 0]] & ~figure.hidden
        keypoints = np.column_stack([joints, np.where(seen, 2, 1) * inside])
        self.people = [_hide(person, mask) for person in self.people] + [Person(mask, keypoints)]
        self.areas.append(area)

    def add_crowd(self) -> None:
        """Draw a group of small figures as one annotation."""
        centre = self.random.uniform(0.25, 0.75, 2) * self.image.shape[1::-1]
        for _ in range(self.random.randint(*CROWD_COUNT)):
            self.add(self.random.uniform(*FAR_HEIGHT), labelled=False, centre=centre)
        if self.people:
            mask = np.logical_or.reduce([person.mask for person in self.people])
            self.people = [Person(mask, np.zeros((len(JOINTS), 3), int), crowd=True)]
            self.areas = [int(mask.sum())]


def _placed(layer: np.ndarray, corner: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Copy a layer (h, w) into zeros of ``size`` (W, H), with its first pixel at ``corner`` (x, y)."""
    canvas = np.zeros(size[::-1], np.float32)
    (left, top), (right, bottom) = np.maximum(corner, 0), np.minimum(corner + layer.shape[::-1], size)
    if left < right and top < bottom:
        part = layer[top - corner[1] : bottom - corner[1], left - corner[0] : right - corner[0]]
        canvas[top:bottom, left:right] = part
    return canvas


def _hide(person: Person, mask: np.ndarray) -> Person:
    """Cover a person by ``mask`` (H, W): its pixels are removed, and its keypoints there become hidden (1)."""
    keypoints = person.keypoints.copy()
    covered = mask[keypoints[:, 1], keypoints[:, 0]] & (keypoints[:, 2] == 2)
    keypoints[covered, 2] = 1
    return person._replace(mask=person.mask & ~mask, keypoints=keypoints)


def _describe(person: Person, image_id: int, annotation_id: int) -> dict:
    """Return COCO's annotation of a person or a crowd."""
    rows, columns = np.nonzero(person.mask)
    left, top = int(columns.min()), int(rows.min())
    encoded = run_lengths.encode(np.asfortranarray(person.mask.astype(np.uint8)))
    return dict(
        id=annotation_id,
        image_id=image_id,
        category_id=1,
        iscrowd=int(person.crowd),
        bbox=[left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top],
        area=int(person.mask.sum()),
        segmentation=dict(size=list(person.mask.shape), counts=encoded['counts'].decode()),
        keypoints=person.keypoints.ravel().tolist(),
        num_keypoints=int((person.keypoints[:, 2] > 0).sum()),
    )


def _detections(annotations: list[dict]) -> list[dict]:
    """Simulate a detector: inaccurate boxes, with a few missing and some false ones."""
    random = RandomState([SEED, len(NUM_IMAGES)])
    detections = []
    for annotation in (a for a in annotations if a['num_keypoints']):
        box = np.array(annotation['bbox'], float)
        for share, scores in ((0.96, (0.6, 1)), (0.3, (0, 0.4))):
            if random.rand() < share:
                moved = box + random.normal(0, 0.03 if scores[0] else 0.5, 4) * box[[2, 3, 2, 3]]
                moved[2:] = np.maximum(moved[2:], 8)
                detections.append(
                    dict(
                        image_id=annotation['image_id'],
                        category_id=1,
                        bbox=moved.round(1).tolist(),
                        score=round(random.uniform(*scores), 3),
                    )
                )
    return detections


def use(cfg: Config, root: str = ROOT) -> None:
    """Point a top-down pose config at the mini data, which are written if they do not exist.

    Args:
        cfg: The config, changed in place: data sets, metrics that read annotations, and the heads' number of keypoints.
        root: Folder of the data.
    """
    make(root)
    for name in DATALOADERS:
        split = 'train' if name == 'train_dataloader' else 'val'
        for node in dicts(cfg.get(name)):
            _use_dataset(node, root, split)
    for name in EVALUATORS:
        metrics = cfg.get(name) or []
        for metric in metrics if isinstance(metrics, list) else [metrics]:
            if metric['type'] not in SAMPLE_METRICS:
                metric.clear()
                metric.update(type='CocoMetric', ann_file=str(_annotations(Path(root), 'val')))
    for node in dicts(cfg.model):
        if 'decoder' in node:
            node['out_channels'] = len(JOINTS)


def _use_dataset(node: dict, root: str, split: str) -> None:
    if 'ann_file' not in node:
        return
    settings = {key: node[key] for key in ('pipeline', 'data_mode', 'filter_cfg', 'test_mode') if key in node}
    if node.get('bbox_file'):
        settings['bbox_file'] = str(Path(root, DETECTIONS))
    node.clear()
    node.update(
        settings,
        type='CocoDataset',
        data_root=root,
        ann_file=f'annotations/person_keypoints_{split}2017.json',
        data_prefix=dict(img=f'{split}2017/'),
    )
