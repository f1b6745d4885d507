"""Boxes of people, hands or faces on an image, read from a json file or found by a detector."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

# Persons that a detector with 56.4 AP found in val2017, below data_root. The paper's tables are measured with them.
DETECTIONS = 'person_detection_results/COCO_val2017_detections_AP_H_56_person.json'
MIN_SCORE = 0.5
PERSON, COCO_PERSON = 'person', 1  # the category's name and its number in COCO
EXPECTED = (
    'expected a COCO annotation file (images, annotations with bbox [x, y, width, height]), or a list of detections '
    '(image_id or file_name, bbox, and score if any)'
)
# A function from an image file to its boxes (N, 4) as x1, y1, x2, y2 in pixels.
FindBoxes = Callable[[Path], np.ndarray]


def is_standard(bbox_file: str, data_root: str | None) -> bool:
    """Tell if a file of boxes is ``DETECTIONS``, which recipes name and a user may lack.

    Args:
        bbox_file: The file of boxes of a data set.
        data_root: The folder of the data set.
    """
    return Path(bbox_file) == Path(data_root or '', DETECTIONS)


def from_json(path: str | Path, name: str = PERSON, min_score: float = MIN_SCORE) -> FindBoxes:
    """Read the boxes of people, or of another class, from a file.

    An annotation belongs to the image of the same file name, in any folder. A detection without file_name belongs to
    the image whose name is its image_id, with or without leading zeros.

    Crowds, and detections of a lower score, are skipped. If the file has the category ``name``, other categories are
    skipped; otherwise all are used. Detections have no names of categories: number 1 is a person, and any number is
    accepted for another class.

    Args:
        path: The file.
        name: The category to use.
        min_score: Boxes of a lower score are skipped.

    Returns:
        A function from an image file to its boxes (N, 4) as x1, y1, x2, y2 in pixels.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is no json of one of these forms, or has a box of no size.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'--boxes {path} does not exist')
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'--boxes {path} is no json ({error}): {EXPECTED}') from error
    boxes: dict[str, list[list[float]]] = {}
    for where, key, box in _entries(path, content, name, min_score):
        boxes.setdefault(key, []).append(_corners(box, where))
    return lambda image: _stack(boxes.get(image.name, boxes.get(_short(image.stem), [])))


def from_detector(detector: Any, name: str = PERSON, min_score: float = MIN_SCORE) -> FindBoxes:
    """Find boxes with a detector.

    Args:
        detector: A callable that returns ``bboxes``, ``labels`` and ``scores`` of an image file, with the names of its
            classes as ``classes``.
        name: The class to use.
        min_score: Boxes of a lower score are skipped.

    Returns:
        A function from an image file to its boxes (N, 4) as x1, y1, x2, y2 in pixels.

    Raises:
        ValueError: The detector does not know the class.
    """
    if name not in detector.classes:
        known = ', '.join(detector.classes[:10]) + (', ...' if len(detector.classes) > 10 else '')
        raise ValueError(f'the detector has no class {name!r}: choose with --det-class one of {known}')
    label = list(detector.classes).index(name)

    def find(image: Path) -> np.ndarray:
        instances = detector(image)
        boxes = instances.bboxes[(instances.labels == label) & (instances.scores >= min_score)].cpu().numpy()
        # A box that the detector clipped at the border may be empty.
        return _stack(boxes[(boxes[:, 2:] - boxes[:, :2] >= 1).all(1)])

    return find


def inside(boxes: np.ndarray | Sequence, width: int, height: int) -> np.ndarray:
    """Clip boxes at the border of an image.

    Args:
        boxes: (N, 4) as x1, y1, x2, y2 in pixels.
        width: Width of the image in pixels.
        height: Height of the image in pixels.

    Returns:
        (N, 4) float32.

    Raises:
        ValueError: A box has no four finite numbers, or lies outside the image.
    """
    boxes = np.asarray(boxes, np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise ValueError(f'boxes are {boxes.tolist()}: expected rows of x1, y1, x2, y2 in pixels')
    clipped = boxes.clip(0, np.array([width, height] * 2, np.float32))
    for original, box in zip(boxes.tolist(), clipped, strict=True):
        if (box[2:] <= box[:2]).any():
            raise ValueError(f'box {original} (x1, y1, x2, y2) has no pixel of the image, which has {width}x{height}')
    return clipped


def _stack(boxes: Any) -> np.ndarray:
    return np.asarray(boxes, np.float32).reshape(-1, 4)


def _short(stem: str) -> str:
    """Remove leading zeros of a number."""
    return str(int(stem)) if stem.isdecimal() else stem


def _entries(path: Path, content: Any, name: str, min_score: float) -> list[tuple[str, str, Any]]:
    """Return (name for messages, key of the image, box) of each entry of one category in a file."""
    annotated = isinstance(content, dict) and isinstance(content.get('annotations'), list)
    if not annotated and not isinstance(content, list):
        raise ValueError(f'--boxes {path}: {EXPECTED}')
    entries = content['annotations'] if annotated else content
    try:
        names = {image['id']: Path(image['file_name']).name for image in content['images']} if annotated else {}
        categories = {c['id'] for c in content.get('categories', []) if c['name'] == name} if annotated else set()
    except (KeyError, TypeError) as error:
        raise ValueError(f'--boxes {path}: images or categories without {error}; {EXPECTED}') from error
    if not annotated and name == PERSON:
        categories = {COCO_PERSON}
    selected = []
    for i, entry in enumerate(entries):
        where = f'--boxes {path}: {"annotation" if annotated else "detection"} {i}'
        if not isinstance(entry, dict) or 'bbox' not in entry or not {'image_id', 'file_name'} & entry.keys():
            raise ValueError(f'{where} lacks bbox or image_id; {EXPECTED}')
        if annotated and entry.get('image_id') not in names:
            raise ValueError(f'{where} is of image_id {entry.get("image_id")!r}, which is not among the images')
        # Without that category every entry is used.
        other = categories and entry.get('category_id', COCO_PERSON) not in categories
        if other or entry.get('iscrowd') or entry.get('score', 1) < min_score:
            continue
        key = Path(entry['file_name']).name if 'file_name' in entry else _short(str(entry['image_id']))
        selected.append((where, names[entry['image_id']] if annotated else key, entry['bbox']))
    return selected


def _corners(box: Any, where: str) -> list[float]:
    """Convert COCO's x, y, width, height to x1, y1, x2, y2."""
    numbers = isinstance(box, list) and len(box) >= 4 and all(isinstance(value, int | float) for value in box[:4])
    if not numbers or not np.isfinite(box[:4]).all() or box[2] <= 0 or box[3] <= 0:
        raise ValueError(f'{where} has bbox {box}: expected [x, y, width, height] in pixels, width and height above 0')
    x, y, width, height = box[:4]
    return [x, y, x + width, y + height]
