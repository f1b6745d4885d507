"""COCO's keypoint files as people write them: what does not fit is named, or left out with a count."""

import json
import os
import warnings
from collections import Counter, defaultdict
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.logging import print_log
from mmpose.datasets import CocoDataset
from mmpose.registry import DATASETS

from moganet.io.readable import NamesBrokenImages, require_files

# Below data_root: persons that a detector of 56.4 AP found in val2017, with which the tables are measured.
DETECTIONS = 'person_detection_results/COCO_val2017_detections_AP_H_56_person.json'
KEYS = ('image_id', 'category_id', 'bbox', 'keypoints', 'num_keypoints')
METAINFO_KEYS = ('dataset_name', 'keypoint_info', 'skeleton_info', 'joint_weights', 'sigmas')
HINTS = dict(
    keypoints=': expected a file of keypoints, such as person_keypoints_train2017.json',
    num_keypoints=': expected the number of its joints with a visibility above 0',
)


def is_standard(bbox_file: str, data_root: str | None) -> bool:
    """Whether a recipe rather than a user named this file of boxes: the tables' own, where it lies below ``data_root``.

    It is the one that may be missing; annotated boxes are then taken.
    """
    return Path(bbox_file) == Path(data_root or '', DETECTIONS)


@DATASETS.register_module()
class CheckedCoco(NamesBrokenImages, CocoDataset):
    """mmpose's CocoDataset, which leaves out without a word what it cannot use, with the words.

    Raises:
        FileNotFoundError: images that the file names are missing.
        ValueError: the file is no COCO json of these joints, or has no person to use; the same of a file of boxes.
    """

    @classmethod
    def _load_metainfo(cls, metainfo: dict | None = None) -> dict:
        with warnings.catch_warnings():
            warnings.filterwarnings('ignore', message='The metainfo config file')  # mmpose finds its own elsewhere
            try:
                return super()._load_metainfo(metainfo)
            except AssertionError as error:
                raise ValueError(
                    f'a dataset has metainfo with the keys {", ".join(metainfo)}: expected from_file=PATH, or all of '
                    f'{", ".join(METAINFO_KEYS)}'
                ) from error

    def load_data_list(self) -> list[dict]:
        self._left_out: dict[str, Counter] = defaultdict(Counter)  # per fault: where, how often
        if self.bbox_file and is_standard(self.bbox_file, self.data_root) and not os.path.exists(self.bbox_file):
            print_log(
                f'{self.bbox_file} does not exist: persons are taken in their annotated boxes. AP with these cannot be '
                'compared with the tables, which have the boxes of that file',
                'current',
            )
            self.bbox_file = None
        data_list = super().load_data_list()
        where = self.bbox_file or self.ann_file
        faults = [
            f'{sum(found.values())} {fault}, first in {next(iter(found))}' for fault, found in self._left_out.items()
        ]
        if not data_list:
            nothing = 'it has no boxes of category_id 1' if self.bbox_file else 'it has no annotations of its images'
            raise ValueError(f'{where}: no person to use ({"; ".join(faults) or nothing})')
        require_files(list(dict.fromkeys(data['img_path'] for data in data_list)), where)
        if faults and self.data_mode == 'topdown':
            print_log(f'{where}: {len(data_list)} persons; left out: {"; ".join(faults)}', 'current')
        del self._left_out
        return data_list

    def _load_annotations(self) -> tuple[list[dict], list[dict]]:
        try:
            found = super()._load_annotations()
        except KeyError as error:
            raise ValueError(f'{self.ann_file}: an entry of it has no {error}') from error
        except (json.JSONDecodeError, UnicodeDecodeError, AssertionError, TypeError) as error:
            raise ValueError(f'{self.ann_file} cannot be read as COCO json: {error}') from error
        self._check_tables()
        return found

    def _check_tables(self) -> None:
        """Compare the lists of the file that was read with each other."""
        coco = self.coco
        missing = [name for name in ('images', 'annotations', 'categories') if not coco.dataset.get(name)]
        if missing:
            raise ValueError(
                f'{self.ann_file} has no {", ".join(missing)}: expected COCO json with the lists images, '
                'annotations and categories'
            )
        for annotation in coco.dataset['annotations']:
            for key, table in (('image_id', coco.imgs), ('category_id', coco.cats)):
                if annotation[key] not in table:
                    raise ValueError(
                        f'{self.ann_file}: annotation {annotation["id"]} is of {key} {annotation[key]}, '
                        'which the file does not list'
                    )

    def parse_data_info(self, raw_data_info: dict) -> dict:
        annotation, image = raw_data_info['raw_ann_info'], raw_data_info['raw_img_info']
        self._check_annotation(annotation)
        data = super().parse_data_info(raw_data_info)
        if not self._is_valid_instance(data):
            self._left_out[_fault(annotation)][f'{image["file_name"]} (annotation {annotation["id"]})'] += 1
        return data

    def _check_annotation(self, annotation: dict) -> None:
        where = f'{self.ann_file}: annotation {annotation["id"]}'
        for key in KEYS + ('area',) * self.test_mode:  # area: evaluation needs it
            if key not in annotation:
                raise ValueError(f'{where} has no {key!r}{HINTS.get(key, "")}')
        joints, known = annotation['keypoints'], self._metainfo['num_keypoints']
        if len(joints) != 3 * known:
            raise ValueError(
                f'{where} has {len(joints)} numbers in keypoints, expected {3 * known}: x, y and visibility of the '
                f"{known} joints of {self._metainfo['dataset_name']!r}. Other joints are told by the dataset's metainfo"
            )
        if len(annotation['bbox']) != 4 or not _finite(annotation['bbox']):
            raise ValueError(f'{where} has the bbox {annotation["bbox"]}, expected x, y, width and height in pixels')
        if not _finite(joints):
            raise ValueError(f'{where} has keypoints that are no numbers: expected x, y and visibility of each joint')

    def _load_detection_results(self) -> list[dict]:
        try:
            data_list = super()._load_detection_results()
        except (KeyError, TypeError, ValueError, IndexError, AssertionError) as error:
            raise ValueError(self._explain(error)) from error
        kept = []
        for data in data_list:
            x1, y1, x2, y2 = data['bbox'][0]
            if x2 > x1 and y2 > y1 and np.isfinite(data['bbox']).all():
                kept.append(data)
            else:
                self._left_out['without a box of any size'][data['img_path']] += 1
        return kept

    def _explain(self, error: Exception) -> str:
        """What is wrong with the file of boxes, read once more: that it is wrong is known."""
        expected = 'a list of dicts with image_id, category_id (1 is a person), bbox (x, y, width, height) and score'
        try:
            boxes = json.loads(Path(self.bbox_file).read_text())
        except ValueError as error:
            return f'{self.bbox_file} cannot be read as json: {error}'
        for i, box in enumerate(boxes if isinstance(boxes, list) else ()):
            if not isinstance(box, dict) or {'image_id', 'category_id', 'bbox', 'score'} - box.keys():
                return f'{self.bbox_file}: entry {i} is {str(box)[:80]}; expected {expected}'
            if hasattr(self, 'coco') and box['image_id'] not in self.coco.imgs:
                return f'{self.bbox_file}: entry {i} is of image {box["image_id"]}, which {self.ann_file} does not list'
        return (
            f'{self.bbox_file} (or {self.ann_file}) does not fit: expected {expected}; {type(error).__name__}: {error}'
        )


def _finite(numbers: Sequence) -> bool:
    try:
        return bool(np.isfinite(np.asarray(numbers, dtype=float)).all())
    except (TypeError, ValueError):
        return False


def _fault(annotation: dict) -> str:
    """Why an annotation is not trained on or tested, of those that COCO's own files have too."""
    if annotation.get('iscrowd'):
        return 'crowds'
    joints = annotation['keypoints']
    if annotation['num_keypoints'] == 0 or max(joints[0::3] + joints[1::3]) <= 0:
        return 'without joints'
    return 'without a box of any size in their image'
