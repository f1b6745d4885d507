"""Checks of users' COCO json files: errors name the faulty entry, and skipped annotations are counted."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from mmdet.datasets import CocoDataset
from mmdet.datasets.api_wrappers import COCO
from mmdet.registry import DATASETS
from mmengine.logging import print_log

from moganet.io.readable import NamesBrokenImages, require_files

TABLES = ('images', 'annotations', 'categories')


class CocoFile(COCO):
    """An annotation file that is checked while the data set reads it. COCO's file has 450 MB, so it is read once.

    Args:
        annotation_file: Path of a COCO json file.

    Raises:
        ValueError: the file is no COCO json, lacks a list or a key, or lists no images.
    """

    def __init__(self, annotation_file: str) -> None:
        self.file = annotation_file
        try:
            super().__init__(annotation_file)
        except KeyError as error:
            raise ValueError(f'{annotation_file}: an entry of it has no {error}') from error
        except (ValueError, AssertionError) as error:
            raise ValueError(f'{annotation_file} cannot be read as COCO json: {error}') from error
        missing = [name for name in TABLES if name not in self.dataset]
        if missing:
            raise ValueError(
                f'{annotation_file} has no {", ".join(map(repr, missing))}: expected COCO json with the '
                f'lists {", ".join(TABLES)}'
            )
        if not self.imgs:
            raise ValueError(f'{annotation_file} lists no images')

    def get_cat_ids(self, cat_names: Sequence[str] = (), **kwargs: Any) -> list[int]:
        """Compare the classes of the data set with the categories of the file and return their ids.

        Args:
            cat_names: Names of the classes.
            **kwargs: Other filters of mmdet's ``get_cat_ids``.

        Raises:
            ValueError: a class is missing in the file, is repeated, or the file has another order. Labels follow the
                order of the file.
        """
        names = [category['name'] for category in self.dataset['categories']]
        missing = [name for name in cat_names if name not in names]
        if missing:
            raise ValueError(
                f'{self.file} has the categories {_some(names)}, and of the classes of the data set it has not '
                f'{_some(missing)}: set metainfo=dict(classes=({", ".join(map(repr, names[:5]))}, ...)) in each dataset'
            )
        wanted = [name for name in names if name in set(cat_names)]
        if wanted != list(cat_names):
            raise ValueError(
                f'{self.file} has the classes in the order {_some(wanted)}, the data set in the order '
                f'{_some(cat_names)}: labels follow the file, so write metainfo.classes in its order, each once'
            )
        return super().get_cat_ids(cat_names, **kwargs)


def _some(names: Sequence[str], count: int = 8) -> str:
    """Join the first names, with the number of all if there are more."""
    return ', '.join(map(str, names[:count])) + (f', ... ({len(names)} in all)' if len(names) > count else '')


@DATASETS.register_module()
class CheckedCoco(NamesBrokenImages, CocoDataset):
    """CocoDataset that reports the annotations it skips (the original drops them silently).

    Raises:
        FileNotFoundError: images named in the file are missing.
        ValueError: the file is no COCO json, has other classes, or has no boxes to train on.
    """

    COCOAPI = CocoFile

    def load_data_list(self) -> list[dict]:
        """Read the annotation file, log the number of skipped annotations per reason, and return the records.

        Raises:
            FileNotFoundError: images named in the file are missing.
            ValueError: an entry lacks a key, or a training set has no usable box.
        """
        self._skipped: dict[str, Counter] = defaultdict(Counter)  # reason: annotations per image
        self._num_boxes = 0
        self._with_masks = any(getattr(step, 'with_mask', False) for step in self.pipeline.transforms)
        data_list = super().load_data_list()
        if not self.backend_args:
            require_files([data['img_path'] for data in data_list], self.ann_file)
        counts = {fault: sum(images.values()) for fault, images in self._skipped.items()}
        if not self._num_boxes and not self.test_mode:
            reasons = '; '.join(f'{count} {fault}' for fault, count in counts.items()) or 'it has no annotations'
            hint = ''
            if 'without a mask' in counts:
                hint = (
                    '. The pipeline loads masks: for boxes alone take a model without a mask head, such as Faster R-CNN'
                )
            raise ValueError(f'{self.ann_file}: no box to train on in {len(data_list)} images ({reasons}){hint}')
        empty = sum(not data['instances'] for data in data_list)
        skipped = [f'{count} {fault}, first in {next(iter(self._skipped[fault]))}' for fault, count in counts.items()]
        if skipped or empty:
            text = f'{self.ann_file}: {self._num_boxes} boxes; {empty} of {len(data_list)} images have none'
            print_log(text + (f'; left out: {"; ".join(skipped)}' if skipped else ''), 'current')
        del self._skipped
        return data_list

    def parse_data_info(self, raw_data_info: dict) -> dict:
        """Return the record of an image with its usable annotations.

        Raises:
            ValueError: the image or an annotation lacks a key.
        """
        image = raw_data_info['raw_img_info']
        for key in ('file_name', 'height', 'width'):
            if key not in image:
                raise ValueError(f'{self.ann_file}: image {image["img_id"]} has no {key!r}')
        usable = []
        for annotation in raw_data_info['raw_ann_info']:
            fault = self._fault(annotation, image)
            if fault:
                self._skipped[fault][image['file_name']] += 1
            else:
                usable.append(annotation)
        data = super().parse_data_info(dict(raw_data_info, raw_ann_info=usable))
        self._num_boxes += len(data['instances'])
        return data

    def _fault(self, annotation: dict, image: dict) -> str | None:
        """Return the reason why an annotation cannot be used, or None if it can."""
        for key in ('bbox', 'area', 'category_id'):
            if key not in annotation:
                raise ValueError(
                    f'{self.ann_file}: annotation {annotation.get("id")} of {image["file_name"]} has no {key!r}'
                )
        x, y, width, height = annotation['bbox']
        if not (width >= 1 and height >= 1 and annotation['area'] > 0):  # catches NaN too
            return 'of less than a pixel or without area'
        if x >= image['width'] or y >= image['height'] or x + width <= 0 or y + height <= 0:
            return 'outside their image'
        if annotation['category_id'] not in self.cat_ids:
            return 'of other classes'
        if not self._with_masks:
            return None
        mask = annotation.get('segmentation')
        if not mask:
            return 'without a mask'
        if isinstance(mask, dict) and list(mask.get('size', ())) != [image['height'], image['width']]:
            return 'with a mask of another size than their image'
        return None
