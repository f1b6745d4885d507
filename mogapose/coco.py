"""A data set for COCO keypoint files that names errors of a file and counts the annotations that it skips."""

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

from .boxes import is_standard

KEYS = ('image_id', 'category_id', 'bbox', 'keypoints', 'num_keypoints')
METAINFO_KEYS = ('dataset_name', 'keypoint_info', 'skeleton_info', 'joint_weights', 'sigmas')
HINTS = dict(
    keypoints=': expected a file of keypoints, such as person_keypoints_train2017.json',
    num_keypoints=': expected the number of its joints with a visibility above 0',
)


@DATASETS.register_module()
class CheckedCoco(NamesBrokenImages, CocoDataset):
    """mmpose's CocoDataset with checks of its files, and a log of the annotations that it skips.

    If the standard file of detected boxes is missing, the annotated boxes are used.

    Raises:
        FileNotFoundError: Images that the file names do not exist.
        ValueError: The file is no COCO json of these joints or has no usable person, or the file of boxes does not fit.
    """

    bbox_file: str | None
    _skipped: dict[str, Counter[str]]  # for each reason: image and annotation, how often

    @classmethod
    def _load_metainfo(cls, metainfo: dict | None = None) -> dict:
        with warnings.catch_warnings():
            # mmpose finds its own metainfo files in another folder than the one that configs name, and warns.
            warnings.filterwarnings('ignore', message='The metainfo config file')
            try:
                return super()._load_metainfo(metainfo)
            except AssertionError as error:
                raise ValueError(
                    f'a dataset has metainfo with the keys {", ".join(metainfo or ())}: expected from_file=PATH, or '
                    f'all of {", ".join(METAINFO_KEYS)}'
                ) from error

    def load_data_list(self) -> list[dict]:
        """Read and check the file, and return a dict for each person.

        Raises:
            FileNotFoundError: Images that the file names do not exist.
            ValueError: The file or the file of boxes does not fit, or there is no usable person.
        """
        self._skipped = defaultdict(Counter)
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
            f'{sum(places.values())} {fault}, first in {next(iter(places))}' for fault, places in self._skipped.items()
        ]
        if not data_list:
            nothing = 'it has no boxes of category_id 1' if self.bbox_file else 'it has no annotations of its images'
            raise ValueError(f'{where}: no person to use ({"; ".join(faults) or nothing})')
        require_files(list(dict.fromkeys(data['img_path'] for data in data_list)), where)
        if faults and self.data_mode == 'topdown':
            print_log(f'{where}: {len(data_list)} persons; left out: {"; ".join(faults)}', 'current')
        del self._skipped
        return data_list

    def _load_annotations(self) -> tuple[list[dict], list[dict]]:
        try:
            annotations = super()._load_annotations()
        except KeyError as error:
            raise ValueError(f'{self.ann_file}: an entry of it has no {error}') from error
        except (json.JSONDecodeError, UnicodeDecodeError, AssertionError, TypeError) as error:
            raise ValueError(f'{self.ann_file} cannot be read as COCO json: {error}') from error
        self._check_tables()
        return annotations

    def _check_tables(self) -> None:
        """Check that the file has its lists and that annotations refer to listed images and categories."""
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
        """Check an annotation, and count it if it is skipped.

        Args:
            raw_data_info: ``raw_ann_info`` and ``raw_img_info``, the file's entries.

        Returns:
            The dict that mmpose's CocoDataset makes of them.

        Raises:
            ValueError: The annotation lacks a key or has other joints.
        """
        annotation, image = raw_data_info['raw_ann_info'], raw_data_info['raw_img_info']
        self._check_annotation(annotation)
        data = super().parse_data_info(raw_data_info)
        if not self._is_valid_instance(data):
            self._skipped[_fault(annotation)][f'{image["file_name"]} (annotation {annotation["id"]})'] += 1
        return data

    def _check_annotation(self, annotation: dict) -> None:
        where = f'{self.ann_file}: annotation {annotation["id"]}'
        for key in KEYS + ('area',) * self.test_mode:  # area: evaluation needs it
            if key not in annotation:
                raise ValueError(f'{where} has no {key!r}{HINTS.get(key, "")}')
        joints, count = annotation['keypoints'], self._metainfo['num_keypoints']
        if len(joints) != 3 * count:
            raise ValueError(
                f'{where} has {len(joints)} numbers in keypoints, expected {3 * count}: x, y and visibility of the '
                f"{count} joints of {self._metainfo['dataset_name']!r}. Other joints are told by the dataset's metainfo"
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
        usable = []
        for data in data_list:
            x1, y1, x2, y2 = data['bbox'][0]
            if x2 > x1 and y2 > y1 and np.isfinite(data['bbox']).all():
                usable.append(data)
            else:
                self._skipped['without a box of any size'][data['img_path']] += 1
        return usable

    def _explain(self, error: Exception) -> str:
        """Read the file of boxes once more and name its first error; ``error`` is that of mmpose."""
        expected = 'a list of dicts with image_id, category_id (1 is a person), bbox (x, y, width, height) and score'
        try:
            boxes = json.loads(Path(str(self.bbox_file)).read_text())
        except ValueError as broken:
            return f'{self.bbox_file} cannot be read as json: {broken}'
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
    """Name the reason why an annotation is skipped. COCO's own files have such annotations too."""
    if annotation.get('iscrowd'):
        return 'crowds'
    joints = annotation['keypoints']
    if annotation['num_keypoints'] == 0 or max(joints[0::3] + joints[1::3]) <= 0:
        return 'without joints'
    return 'without a box of any size in their image'
