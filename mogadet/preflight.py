"""Checks of detection data before anything is built. ``mogadet/coco.py`` checks while it reads an annotation file."""

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
# Number of files of a VOC folder that are read to compare their classes.
XML_SAMPLE = 50


def check_detection(cfg: Config, dataloaders: Sequence[str]) -> None:
    """Check that annotation files exist and that classes fit the heads; have COCO files checked while they are read.

    A COCO json is parsed once, by the data set. So mmdet's CocoDataset is replaced by ``CheckedCoco`` in ``cfg``.

    Args:
        cfg: The config of a run, changed in place.
        dataloaders: Keys of the loaders to check.

    Raises:
        FileNotFoundError: an annotation file does not exist.
        ValueError: the number of classes differs from a head's, or a VOC folder has none of the classes.
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
    """Return the classes in the config of a data set, else the classes of its type."""
    configured = (dataset.get('metainfo') or {}).get('classes')
    if isinstance(configured, str):
        raise ValueError(
            f'metainfo.classes={configured!r} is one string: '
            f'expected names, as in metainfo=dict(classes=({configured!r},))'
        )
    return configured or DATASETS.get(dataset['type']).METAINFO.get('classes', ())


def _heads(node: object, path: tuple = ()) -> Iterator[tuple[str, int]]:
    """Yield dotted path and number of classes of every box and mask head."""
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        key_path = (*path, key)
        if key == 'num_classes' and any(part in ('bbox_head', 'mask_head') for part in path):
            yield '.'.join(map(str, key_path)), value
        yield from _heads(value, key_path)


def _check_heads(cfg: Config, name: str, classes: Sequence[str], configured: bool) -> None:
    """Compare the number of classes with the heads. ``configured``: the config names the classes itself."""
    wrong = [(path, number) for path, number in _heads(cfg.model, ('model',)) if number != len(classes)]
    if not wrong:
        return
    if configured:
        found = f'{len(classes)} classes'
        hint = 'set --cfg-options ' + ' '.join(f'{path}={len(classes)}' for path, _ in wrong)
    else:
        found = f'the {len(classes)} classes of the original data, since it sets none'
        hint = 'set metainfo=dict(classes=(...)) in each dataset'
    raise ValueError(f'{name}.dataset has {found}, and {wrong[0][0]} is {wrong[0][1]}: {hint}')


def _check_xml(dataset: dict, path: Path, classes: Sequence[str]) -> None:
    """Check that the first files of a VOC folder have an object of a known class. Training would fail later."""
    root = Path(dataset.get('data_root') or '', (dataset.get('data_prefix') or {}).get('sub_data_root', ''))
    files = (root / dataset.get('ann_subdir', 'Annotations') / f'{line.strip()}.xml' for line in path.open())
    names: set[str | None] = set()
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
