"""Small keypoint data in COCO's layout: images of noise with a person or two, all 17 joints."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT = 96, 72
JOINTS = 17
BOXES = 'person_detection_results/COCO_val2017_detections_AP_H_56_person.json'


def person(number: int, image: int, bbox: list, **keys) -> dict:
    """An annotation with visible joints on the diagonal of its box."""
    x, y, width, height = bbox
    steps = np.linspace(0.1, 0.9, JOINTS)
    joints = np.stack([x + steps * width, y + steps * height, np.full(JOINTS, 2)], 1)
    return dict(
        dict(
            id=number,
            image_id=image,
            category_id=1,
            bbox=bbox,
            area=width * height,
            iscrowd=0,
            keypoints=joints.round(1).ravel().tolist(),
            num_keypoints=JOINTS,
        ),
        **keys,
    )


def write_people(root: Path, split: str = 'val', annotations: list | None = None, **tables) -> Path:
    """Write three images and their annotations; ``tables`` replace lists of the json, None removes one.

    Returns:
        The annotation file.
    """
    folder = root / f'{split}2017'
    folder.mkdir(parents=True, exist_ok=True)
    (root / 'annotations').mkdir(exist_ok=True)
    random = np.random.default_rng(0)
    images = []
    for i in range(1, 4):
        Image.fromarray(random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)).save(folder / f'{i}.jpg')
        images.append(dict(id=i, file_name=f'{i}.jpg', height=HEIGHT, width=WIDTH))
    if annotations is None:
        annotations = [person(i, i, [10, 6, 30, 60]) for i in range(1, 4)] + [person(4, 1, [50, 6, 30, 60])]
    content = dict(dict(images=images, annotations=annotations, categories=[dict(id=1, name='person')]), **tables)
    path = root / f'annotations/person_keypoints_{split}2017.json'
    path.write_text(json.dumps({name: table for name, table in content.items() if table is not None}))
    return path


def box(image: int, bbox: list, score: float = 0.9, **keys) -> dict:
    """A detected person."""
    return dict(dict(image_id=image, category_id=1, bbox=bbox, score=score), **keys)


def write_boxes(root: Path, boxes: object) -> Path:
    """Write a file of detected boxes at the recipes' path under ``root`` and return its path."""
    path = root / BOXES
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(boxes))
    return path
