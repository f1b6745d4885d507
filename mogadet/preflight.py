"""Checks of detection data before anything is built. What needs an annotation file read is in ``mogadet/coco.py``."""

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from xml.etree import ElementTree

from mmdet.registry import DATASETS
from mmengine.config import Config

from moganet.run.config import dicts
from moganet.run.preflight import register_check, register_layout

from .coco import CheckedCoco

COCO_TYPES = ('CocoDataset', 'mmdet.CocoDataset', CheckedCoco.__name__)
XML_TYPES = ('XMLDataset', 'mmdet.XMLDataset', 'VOCDataset', 'mmdet.VOCDataset')
COCO_LAYOUT = 'annotations/*.json (COCO format) and the folders of images that data_prefix names'
VOC_LAYOUT = 'Annotations/*.xml, JPEGImages/*.jpg and lists of names such as ImageSets/Main/train.txt'
# How many files of a VOC folder are read for a look at their classes.
XML_SAMPLE = 50


def check_detection(cfg: Config, dataloaders: Sequence[str]) -> None:
    """Look for annotation files, compare classes with heads, and let COCO's files be checked as they are read.

    A COCO json is parsed once, by the data set: mmdet's CocoDataset becomes ``CheckedCoco``, in place.

    Raises:
        FileNotFoundError: no such annotation file.
        ValueError: another number of classes than the heads have, or none of them in a VOC folder.
    """
    for name in dataloaders:
        for dataset in dicts(cfg.get(name)):
            if not dataset.get('ann_file') or dataset.get('type') not in COCO_TYPES + XML_TYPES:
                continue
            path = Path(dataset.get('data_root') or '', dataset['ann_file'])
            layout = COCO_LAYOUT if dataset['type'] in COCO_TYPES else VOC_LAYOUT
            if '://' not in str(dataset['ann_file']) and not path.is_file():
                raise FileNotFoundError(f'{path} ({name}.dataset.ann_file) does not exist; expected {layout}')
            classes = _classes(dataset)
            _check_heads(cfg, name, classes, 'metainfo' in dataset and 'classes' in dataset['metainfo'])
            if dataset['type'] in COCO_TYPES:
                dataset['type'] = CheckedCoco.__name__
            else:
                _check_xml(dataset, path, classes)


def _classes(dataset: dict) -> Sequence[str]:
    own = (dataset.get('metainfo') or {}).get('classes')
    if isinstance(own, str):
        raise ValueError(
            f'metainfo.classes={own!r} is one string: expected names, as in metainfo=dict(classes=({own!r},))'
        )
    return own or DATASETS.get(dataset['type']).METAINFO.get('classes', ())


def _heads(node: object, path: tuple = ()) -> Iterator[tuple[str, int]]:
    """(dotted path, number of classes) of every box and mask head."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        here = (*path, key)
        if key == 'num_classes' and any(part in ('bbox_head', 'mask_head') for part in path):
            yield '.'.join(map(str, here)), value
        yield from _heads(value, here)


def _check_heads(cfg: Config, name: str, classes: Sequence[str], own: bool) -> None:
    wrong = [(path, number) for path, number in _heads(cfg.model, ('model',)) if number != len(classes)]
    if not wrong:
        return
    told = f'{len(classes)} classes' if own else f'the {len(classes)} classes of the original data, since it sets none'
    options = ' '.join(f'{path}={len(classes)}' for path, _ in wrong)
    hint = f'set --cfg-options {options}' if own else 'set metainfo=dict(classes=(...)) in each dataset'
    raise ValueError(f'{name}.dataset has {told}, and {wrong[0][0]} is {wrong[0][1]}: {hint}')


def _check_xml(dataset: dict, path: Path, classes: Sequence[str]) -> None:
    """A folder in which no object is of a known class would fail later, and without a word of why."""
    root = Path(dataset.get('data_root') or '', (dataset.get('data_prefix') or {}).get('sub_data_root', ''))
    files = (root / dataset.get('ann_subdir', 'Annotations') / f'{line.strip()}.xml' for line in path.open())
    names = set()
    for file in islice(files, XML_SAMPLE):
        if not file.is_file():
            raise FileNotFoundError(f'{file} does not exist, and {path} names it; expected {VOC_LAYOUT}')
        try:
            names |= {entry.text for entry in ElementTree.parse(file).iterfind('object/name')}
        except ElementTree.ParseError as error:
            raise ValueError(f'{file} cannot be read as XML: {error}') from error
    if not names & set(classes):
        found = ', '.join(sorted(map(str, names))) or 'no objects'
        raise ValueError(
            f'{path}: none of the classes {", ".join(map(str, classes[:8]))} in its first {XML_SAMPLE} files, '
            f'which have {found}: set metainfo=dict(classes=(...)) in each dataset'
        )


register_layout('CocoDataset', COCO_LAYOUT)
for _type in XML_TYPES:
    register_layout(_type, VOC_LAYOUT)
register_check(check_detection)
