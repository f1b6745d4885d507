"""Mini data for segmentation: photographs with real scanned digits, in the folder layout of ADE20K."""

from pathlib import Path

import cv2
import numpy as np
from mmengine.config import Config
from PIL import Image

from moganet.io.files import atomic_directory
from moganet.mini.scenes import Scene, generate
from moganet.run.config import DATALOADERS, dicts
from moganet.run.smoke import smaller

ROOT = 'data/mini/seg'
# The first images equal those of mini COCO, pixel by pixel. Segmentation needs more images than detection: with 200
# images, a model memorises the colours of the digits.
NUM_IMAGES = dict(training=1000, validation=50)
CLASSES = ('background', 'zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine')
PALETTE = (
    [40, 40, 40],
    [31, 119, 180],
    [255, 127, 14],
    [44, 160, 44],
    [214, 39, 40],
    [148, 103, 189],
    [140, 86, 75],
    [227, 119, 194],
    [240, 240, 240],
    [188, 189, 34],
    [23, 190, 207],
)
# As in ADE20K: label 0 is unlabelled, and classes count from 1.
UNLABELLED, BACKGROUND = 0, 1
# Factor on the sizes that the recipes resize and crop to, so that a smoke run takes seconds.
SMOKE_SCALE = 1 / 4


def make(root: str | Path = ROOT) -> str:
    """Write images and label maps under ``root`` unless they exist, and return a summary.

    Everything comes from a fixed seed. Validation has other digits and other parts of photographs than training. The
    folder is written atomically.
    """
    root = Path(root)
    counts = ' and '.join(f'{number} {split}' for split, number in NUM_IMAGES.items())
    summary = f'{root}: {counts} photographs with scanned digits, {len(CLASSES)} classes'
    if all(len(list(root.glob(f'annotations/{split}/*.png'))) == number for split, number in NUM_IMAGES.items()):
        return summary
    with atomic_directory(root) as partial:
        for split, number in NUM_IMAGES.items():
            _write_split(partial, split, number)
    return summary


def _write_split(root: Path, split: str, number: int) -> None:
    """Write the images and label maps of a split."""
    for folder in ('images', 'annotations'):
        (root / folder / split).mkdir(parents=True)
    side = dict(training='train', validation='val')[split]
    for image_id, pixels, scene in generate(side, number):
        name = f'ADE_{side}_{image_id:08d}'
        Image.fromarray(pixels).save(root / 'images' / split / f'{name}.jpg', quality=92)
        Image.fromarray(label_map(scene)).save(root / 'annotations' / split / f'{name}.png')


def label_map(scene: Scene) -> np.ndarray:
    """Return the labels of a scene, (H, W) uint8. Crowds and a rim of two pixels between classes are unlabelled."""
    labels = np.full(scene.image.shape[:2], BACKGROUND, np.uint8)
    rims = np.zeros(labels.shape, bool)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    for thing in scene.objects:
        labels[thing.mask] = UNLABELLED if thing.crowd else BACKGROUND + 1 + thing.label
        rims |= cv2.morphologyEx(thing.mask.astype(np.uint8), cv2.MORPH_GRADIENT, cross).astype(bool)
    labels[rims] = UNLABELLED
    return labels


def use(cfg: Config, root: str = ROOT) -> None:
    """Change a segmentation config in place to read the mini data at small sizes, and write them if there are none."""
    make(root)
    for name in DATALOADERS:
        split = 'training' if name == 'train_dataloader' else 'validation'
        for node in dicts(cfg.get(name)):
            _use_dataset(node, root, split)
    for node in dicts(cfg.get('tta_pipeline')):
        _use_transform(node)
    num_classes = max(node['num_classes'] for node in dicts(cfg.model) if 'num_classes' in node)
    for node in dicts(cfg.model):
        _use_module(node, num_classes)


def _use_dataset(node: dict, root: str, split: str) -> None:
    """Replace a data set by the mini data, and change a transform."""
    if 'data_prefix' in node:
        common = {key: node[key] for key in ('pipeline', 'test_mode') if key in node}
        node.clear()
        node.update(
            common,
            type='BaseSegDataset',
            data_root=root,
            reduce_zero_label=True,
            data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'annotations/{split}'),
            metainfo=dict(classes=CLASSES, palette=PALETTE),
        )
    _use_transform(node)


def _use_transform(node: dict) -> None:
    """Scale the sizes of a transform, and leave ``reduce_zero_label`` to the data set."""
    if node.get('type') == 'LoadAnnotations':
        node.pop('reduce_zero_label', None)
    for key in ('scale', 'scales', 'crop_size', 'max_size'):
        if key in node:
            node[key] = smaller(node[key], SMOKE_SCALE)


def _use_module(node: dict, num_classes: int) -> None:
    """Change classes and sizes of any module of a model that had ``num_classes`` classes."""
    if 'num_classes' in node:
        node['num_classes'] = len(CLASSES)
    if isinstance(node.get('class_weight'), list):  # a weight beyond the classes is for 'no object'
        node['class_weight'] = node['class_weight'][:1] * len(CLASSES) + node['class_weight'][num_classes:]
    if node.get('type') == 'SegDataPreProcessor' and node.get('size'):
        node['size'] = smaller(node['size'], SMOKE_SCALE)
    if node.get('mode') == 'slide':
        node.update(crop_size=smaller(node['crop_size'], SMOKE_SCALE), stride=smaller(node['stride'], SMOKE_SCALE))
