"""Checks of segmentation data before anything is built. What needs every map read is in ``mogaseg/loading.py``."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from mmengine.config import Config
from mmengine.logging import print_log
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, TRANSFORMS

from moganet.run.config import dicts
from moganet.run.preflight import register_check, register_layout

from .loading import CheckedImage, CheckedMap

IMAGE_TYPES = ('LoadImageFromFile', CheckedImage.__name__)
MAP_TYPES = ('LoadAnnotations', 'mmseg.LoadAnnotations', CheckedMap.__name__)
ADE_LAYOUT = 'images/{training,validation}/*.jpg and annotations/{training,validation}/*.png'
LAYOUT = 'a folder of images and one of label maps of the same names, which data_prefix and the suffixes say'
# How many images and maps of a data set are read for a look.
SAMPLE = 8


def check_segmentation(cfg: Config, dataloaders: Sequence[str]) -> None:
    """Compare images with maps and classes with heads, look at a few maps, and let the others be checked when read.

    In the pipelines, mmcv's LoadImageFromFile and mmseg's LoadAnnotations become ``CheckedImage`` and ``CheckedMap``.

    Raises:
        FileNotFoundError: no such folder, list, image or map.
        ValueError: nothing in the folders, other classes than the heads have, or maps that cannot be used.
    """
    for name in dataloaders:
        for dataset in dicts(cfg.get(name)):
            kind = DATASETS.get(dataset['type']) if dataset.get('data_prefix') else None
            if kind is not None and issubclass(kind, BaseSegDataset):
                _check_dataset(cfg, f'{name}.dataset', dataset, kind)


def _check_dataset(cfg: Config, name: str, config: dict, kind: type[BaseSegDataset]) -> None:
    _check_classes(cfg, name, config, kind)
    local = not config.get('backend_args') and '://' not in str(config.get('data_root'))
    if local:
        _check_folders(name, config)
    dataset = DATASETS.build(dict(config, pipeline=[], lazy_init=True))
    records = dataset.load_data_list()
    if not records:
        raise ValueError(
            f'{dataset.data_prefix["img_path"]} ({name}) holds no images whose name ends in '
            f'{dataset.img_suffix!r}: set img_suffix in each dataset, or look at data_prefix'
        )
    if local:
        _check_pairs(name, dataset, records)
    steps = _check_pipeline(cfg, name, config, dataset)
    if local:
        _look_at(records, steps)


def _check_classes(cfg: Config, name: str, config: dict, kind: type[BaseSegDataset]) -> None:
    """Names of classes against those of the data set's type and against the heads."""
    own = (config.get('metainfo') or {}).get('classes')
    known = kind.METAINFO.get('classes', ())
    if isinstance(own, str):
        raise ValueError(
            f'{name}: metainfo.classes={own!r} is one string: expected names, as in metainfo=dict(classes=({own!r},))'
        )
    strange = [entry for entry in own or () if entry not in known]
    if known and strange:
        raise ValueError(
            f'{name}: {kind.__name__} has {len(known)} classes of its own, and {strange[0]!r} is none of '
            "them: for other classes take type='BaseSegDataset' and say with reduce_zero_label whether 0 "
            'is unlabelled'
        )
    number = len(own or known)
    if not number:
        raise ValueError(f'{name} has no classes: set metainfo=dict(classes=(...)) in each dataset')
    wrong = [(path, value) for path, value in _heads(cfg.model, ('model',)) if value != number]
    if wrong:
        told = f'{number} classes' if own else f'the {number} classes of {kind.__name__}'
        options = ' '.join(f'{path}={number}' for path, _ in wrong)
        hint = '' if own else "; or name classes of your own: type='BaseSegDataset', metainfo=dict(classes=(...))"
        raise ValueError(f'{name} has {told}, and {wrong[0][0]} is {wrong[0][1]}: set --cfg-options {options}{hint}')


def _heads(node: object, path: tuple = ()) -> Iterator[tuple[str, int]]:
    """(dotted path, number of classes) of every head that labels pixels."""
    inside = any(str(part).endswith('_head') for part in path)
    # STDC's auxiliary head for outlines knows two classes, whatever the data set has.
    if inside and isinstance(node, dict) and 'num_classes' in node and node.get('type') != 'STDCHead':
        yield '.'.join(map(str, (*path, 'num_classes'))), node['num_classes']
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from _heads(value, (*path, key))


def _check_folders(name: str, config: dict) -> None:
    root = config.get('data_root') or ''
    for key in ('img_path', 'seg_map_path'):
        folder = config['data_prefix'].get(key)
        if folder is not None and not Path(root, folder).is_dir():
            raise FileNotFoundError(
                f'{Path(root, folder)} ({name}.data_prefix.{key}) does not exist; expected {_layout(config["type"])}'
            )
    names = config.get('ann_file')
    if names and not Path(root, names).exists():
        raise FileNotFoundError(
            f'{Path(root, names)} ({name}.ann_file) does not exist: expected a text file with the '
            'name of an image, without its suffix, per line'
        )


def _layout(kind: str) -> str:
    return ADE_LAYOUT if kind == 'ADE20KDataset' else LAYOUT


def _check_pairs(name: str, dataset: BaseSegDataset, records: list[dict]) -> None:
    """Compare with one listing per folder, which is cheap where a look at each file is not."""
    for key, what in (('img_path', 'images'), ('seg_map_path', 'segmentation maps')):
        paths = [record[key] for record in records if key in record]
        folders = {
            folder: set(os.listdir(folder)) if os.path.isdir(folder) else set()
            for folder in {os.path.dirname(path) for path in paths}
        }
        missing = [path for path in paths if os.path.basename(path) not in folders[os.path.dirname(path)]]
        if missing:
            raise FileNotFoundError(
                f'{missing[0]} does not exist; {len(missing)} such {what} of {len(paths)} are missing ({name}): look '
                f'at data_prefix.{key} and {"img_suffix" if what == "images" else "seg_map_suffix"}'
            )
    suffix = dataset.seg_map_suffix
    maps = sum(entry.endswith(suffix) for listing in folders.values() for entry in listing)
    if not dataset.ann_file and maps > len(paths) > 0:
        print_log(
            f'{name}: {maps} segmentation maps and {len(paths)} images whose name ends in '
            f'{dataset.img_suffix!r}; the other maps are not used',
            'current',
        )


def _check_pipeline(cfg: Config, name: str, config: dict, dataset: BaseSegDataset) -> list[dict]:
    """Put the checked loading into a pipeline, in place, and return its configs: of images, of maps."""
    ignored = [255, *(node['ignore_index'] for node in dicts(cfg.model) if 'ignore_index' in node)]
    steps = []
    for step in dicts(config.get('pipeline')):
        if step.get('type') in IMAGE_TYPES:
            step['type'] = CheckedImage.__name__
        elif step.get('type') in MAP_TYPES:
            told = step.get('reduce_zero_label')
            if told is not None and told != dataset.reduce_zero_label:
                raise ValueError(
                    f'{name} has reduce_zero_label={dataset.reduce_zero_label}, and LoadAnnotations of '
                    f'its pipeline has {told}: leave it out there'
                )
            classes = len(dataset.metainfo['classes'])
            step.update(type=CheckedMap.__name__, num_classes=classes, ignore_index=ignored[-1])
        else:
            continue
        steps.append(step)
    return steps


def _look_at(records: list[dict], steps: list[dict]) -> None:
    """Load a few images and maps from all over the data set."""
    if [step['type'] for step in steps] != [CheckedImage.__name__, CheckedMap.__name__]:
        return  # no maps, or loaded in another way
    load = [TRANSFORMS.build(step) for step in steps]
    for record in records[:: -(-len(records) // SAMPLE)]:
        results = dict(record, seg_fields=[])
        for step in load:
            results = step(results)


register_layout('ADE20KDataset', ADE_LAYOUT)
for _type in ('BaseSegDataset', 'CityscapesDataset', 'PascalVOCDataset'):
    register_layout(_type, LAYOUT)
register_check(check_segmentation)
