"""Mini data for detection: photographs with real scanned digits, in the folder layout of COCO."""

import json
from pathlib import Path

import numpy as np
from mmengine.config import Config
from PIL import Image

from moganet.io.files import atomic_directory
from moganet.mini.scenes import Scene, generate
from moganet.run.config import DATALOADERS, EVALUATORS, dicts
from moganet.run.smoke import smaller

from .polygons import polygons, run_lengths

ROOT = 'data/mini/det'
NUM_IMAGES = dict(train=200, val=50)
CLASSES = tuple('0123456789')
# Factor on the sizes that the recipes resize to, so that a smoke run takes seconds.
SMOKE_SCALE = 1 / 5


def make(root: str | Path = ROOT) -> str:
    """Write images and annotations under ``root`` unless they exist, and return a summary.

    Everything comes from a fixed seed. Val has other digits and other parts of photographs than train. Boxes, polygons
    and RLEs cover the visible part of each digit. The folder is written atomically.
    """
    root = Path(root)
    counts = ' and '.join(f'{number} {split}' for split, number in NUM_IMAGES.items())
    summary = f'{root}: {counts} photographs with scanned digits, {len(CLASSES)} classes'
    if all(_annotations(root, split).is_file() for split in NUM_IMAGES):
        return summary
    with atomic_directory(root) as partial:
        for split in NUM_IMAGES:
            _write_split(partial, split)
    return summary


def _annotations(root: Path, split: str) -> Path:
    return root / 'annotations' / f'instances_{split}2017.json'


def _write_split(root: Path, split: str) -> None:
    """Write the images of a split and its COCO json."""
    images: list[dict] = []
    annotations: list[dict] = []
    folder = root / f'{split}2017'
    folder.mkdir(parents=True)
    for image_id, pixels, scene in generate(split, NUM_IMAGES[split]):
        name = f'{image_id:012d}.jpg'
        Image.fromarray(pixels).save(folder / name, quality=92)
        images.append(dict(id=image_id, file_name=name, height=pixels.shape[0], width=pixels.shape[1]))
        annotations += _describe(scene, image_id, len(annotations) + 1)
    categories = [dict(id=i + 1, name=name, supercategory='digit') for i, name in enumerate(CLASSES)]
    path = _annotations(root, split)
    path.parent.mkdir(exist_ok=True)
    info = dict(description='scanned digits (scikit-learn) on photographs (scikit-learn, scikit-image)')
    content = dict(info=info, licenses=[], images=images, annotations=annotations, categories=categories)
    path.write_text(json.dumps(content))


def _describe(scene: Scene, image_id: int, first_id: int) -> list[dict]:
    """Return the COCO annotations of a scene, numbered from ``first_id``."""
    annotations: list[dict] = []
    for digit in scene.objects:
        rows, columns = np.nonzero(digit.mask)
        left, top = int(columns.min()), int(rows.min())
        annotations.append(
            dict(
                id=first_id + len(annotations),
                image_id=image_id,
                category_id=digit.label + 1,
                iscrowd=int(digit.crowd),
                bbox=[left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top],
                area=int(digit.mask.sum()),
                segmentation=run_lengths(digit.mask) if digit.crowd else polygons(digit.mask),
            )
        )
    return annotations


def use(cfg: Config, root: str = ROOT) -> None:
    """Change a detection config in place to read the mini data at small sizes, and write the data if there are none."""
    make(root)
    for name in DATALOADERS:
        split = 'train' if name == 'train_dataloader' else 'val'
        for node in dicts(cfg.get(name)):
            _use_dataset(node, root, split)
    for name in EVALUATORS:
        for node in dicts(cfg.get(name)):
            _use_metric(node, root)
    for node in dicts(cfg.model):
        if 'num_classes' in node:
            node['num_classes'] = len(CLASSES)


def _use_dataset(node: dict, root: str, split: str) -> None:
    """Replace a data set by the mini data, and scale the sizes of a transform."""
    if 'ann_file' in node:
        common = {key: node[key] for key in ('pipeline', 'filter_cfg', 'test_mode') if key in node}
        node.clear()
        node.update(
            common,
            type='CocoDataset',
            data_root=root,
            ann_file=f'annotations/instances_{split}2017.json',
            data_prefix=dict(img=f'{split}2017/'),
            metainfo=dict(classes=CLASSES),
        )
    for key in ('scale', 'scales', 'crop_size'):
        if key in node and 'ratio_range' not in node:
            node[key] = smaller(node[key], SMOKE_SCALE)


def _use_metric(node: dict, root: str) -> None:
    """Replace COCO's and VOC's metrics by COCO's on the mini data."""
    if node.get('type') in ('CocoMetric', 'VOCMetric'):
        common = {key: node[key] for key in ('metric', 'format_only') if key in node and node['type'] == 'CocoMetric'}
        node.clear()
        node.update(dict(metric='bbox') | common, type='CocoMetric', ann_file=str(_annotations(Path(root), 'val')))
