"""Where people, hands or faces are on an image: boxes out of a json file, or found by a detector."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

MIN_SCORE = 0.5
PERSON, COCO_PERSON = 'person', 1  # the category's name and its number in COCO
EXPECTED = (
    'expected a COCO annotation file (images, annotations with bbox [x, y, width, height]), or a list of detections '
    '(image_id or file_name, bbox, and score if any)'
)
# Boxes (N, 4) of an image file as x1, y1, x2, y2 in pixels.
FindBoxes = Callable[[Path], np.ndarray]


def from_json(path: str | Path, name: str = PERSON, min_score: float = MIN_SCORE) -> FindBoxes:
    """Boxes of people, or of another class, that a file lists.

    An annotation belongs to an image of the same file name, whatever its folder. A detection without file_name belongs
    to the image whose name is its image_id, leading zeros aside. Crowds and detections of a lower score are left out.
    So are other categories than ``name``, where there is that one; of detections, which have no names, only number 1
    is a person, and whatever else is wanted may have any number.

    Args:
        path: The file.
        name: The category that is wanted.
        min_score: Boxes of a lower score are left out.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no json, or not of that form, or has a box of no size.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'--boxes {path} does not exist')
    try:
        content = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f'--boxes {path} is no json ({error}): {EXPECTED}') from error
    found: dict[str, list] = {}
    for where, key, box in _entries(path, content, name, min_score):
        found.setdefault(key, []).append(_corners(box, where))
    return lambda image: _stack(found.get(image.name, found.get(_short(image.stem), [])))


def from_detector(detector: Any, name: str = PERSON, min_score: float = MIN_SCORE) -> FindBoxes:
    """Boxes that a detector finds.

    Args:
        detector: Called with an image file, it gives ``bboxes``, ``labels`` and ``scores``; ``classes`` are its names.
        name: The class that is wanted.
        min_score: Boxes of a lower score are left out.

    Raises:
        ValueError: the detector knows no such class.
    """
    if name not in detector.classes:
        known = ', '.join(detector.classes[:10]) + (', ...' if len(detector.classes) > 10 else '')
        raise ValueError(f'the detector has no class {name!r}: choose with --det-class one of {known}')
    label = list(detector.classes).index(name)

    def find(image: Path) -> np.ndarray:
        instances = detector(image)
        boxes = instances.bboxes[(instances.labels == label) & (instances.scores >= min_score)].cpu().numpy()
        # What a detector clips at the border may have nothing left.
        return _stack(boxes[(boxes[:, 2:] - boxes[:, :2] >= 1).all(1)])

    return find


def inside(boxes: np.ndarray, width: int, height: int) -> np.ndarray:
    """Boxes (N, 4), x1, y1, x2, y2, cut at the border of an image.

    Raises:
        ValueError: one of them is no box, or lies outside.
    """
    boxes = np.asarray(boxes, np.float32)
    if boxes.ndim != 2 or boxes.shape[1] != 4 or not np.isfinite(boxes).all():
        raise ValueError(f'boxes are {boxes.tolist()}: expected rows of x1, y1, x2, y2 in pixels')
    cut = boxes.clip(0, np.array([width, height] * 2, np.float32))
    for whole, box in zip(boxes.tolist(), cut, strict=True):
        if (box[2:] <= box[:2]).any():
            raise ValueError(f'box {whole} (x1, y1, x2, y2) has no pixel of the image, which has {width}x{height}')
    return cut


def _stack(boxes: Any) -> np.ndarray:
    return np.asarray(boxes, np.float32).reshape(-1, 4)


def _short(stem: str) -> str:
    return str(int(stem)) if stem.isdecimal() else stem


def _entries(path: Path, content: Any, name: str, min_score: float) -> list[tuple[str, str, Any]]:
    """(what to call it in an error, key of its image, box) of everything of one category in a file."""
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
    found = []
    for i, entry in enumerate(entries):
        where = f'--boxes {path}: {"annotation" if annotated else "detection"} {i}'
        if not isinstance(entry, dict) or 'bbox' not in entry or not {'image_id', 'file_name'} & entry.keys():
            raise ValueError(f'{where} lacks bbox or image_id; {EXPECTED}')
        if annotated and entry.get('image_id') not in names:
            raise ValueError(f'{where} is of image_id {entry.get("image_id")!r}, which is not among the images')
        # Without that category, all are taken for what is wanted.
        other = categories and entry.get('category_id', COCO_PERSON) not in categories
        if other or entry.get('iscrowd') or entry.get('score', 1) < min_score:
            continue
        key = Path(entry['file_name']).name if 'file_name' in entry else _short(str(entry['image_id']))
        found.append((where, names[entry['image_id']] if annotated else key, entry['bbox']))
    return found


def _corners(box: Any, where: str) -> list[float]:
    """x1, y1, x2, y2 of COCO's x, y, width, height."""
    numbers = isinstance(box, list) and len(box) >= 4 and all(isinstance(value, int | float) for value in box[:4])
    if not numbers or not np.isfinite(box[:4]).all() or box[2] <= 0 or box[3] <= 0:
        raise ValueError(f'{where} has bbox {box}: expected [x, y, width, height] in pixels, width and height above 0')
    x, y, width, height = box[:4]
    return [x, y, x + width, y + height]
