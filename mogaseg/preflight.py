"""Checks of segmentation data before anything is built. ``mogaseg/loading.py`` checks every map when it is read."""

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
# Number of images and maps of a data set that are read for a check.
SAMPLE = 8


def check_segmentation(cfg: Config, dataloaders: Sequence[str]) -> None:
    """Compare images with maps and classes with heads, and check a few maps; the others are checked when read.

    In the pipelines, LoadImageFromFile of mmcv and LoadAnnotations of mmseg are replaced by ``CheckedImage`` and
    ``CheckedMap``.

    Args:
        cfg: The config of a run, changed in place.
        dataloaders: Keys of the loaders to check.

    Raises:
        FileNotFoundError: a folder, list, image or map does not exist.
        ValueError: folders are empty, the classes differ from the heads, or maps cannot be used.
    """
    for name in dataloaders:
        for dataset in dicts(cfg.get(name)):
            dataset_type = DATASETS.get(dataset['type']) if dataset.get('data_prefix') else None
            if dataset_type is not None and issubclass(dataset_type, BaseSegDataset):
                _check_dataset(cfg, f'{name}.dataset', dataset, dataset_type)


def _check_dataset(cfg: Config, name: str, config: dict, dataset_type: type[BaseSegDataset]) -> None:
    """Check the data set of a loader; ``name`` is its dotted path in the config."""
    _check_classes(cfg, name, config, dataset_type)
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
        _read_sample(records, steps)


def _check_classes(cfg: Config, name: str, config: dict, dataset_type: type[BaseSegDataset]) -> None:
    """Compare the classes in the config with those of the data set's type and with the heads."""
    configured = (config.get('metainfo') or {}).get('classes')
    defaults = dataset_type.METAINFO.get('classes', ())
    if isinstance(configured, str):
        raise ValueError(
            f'{name}: metainfo.classes={configured!r} is one string: '
            f'expected names, as in metainfo=dict(classes=({configured!r},))'
        )
    unknown = [entry for entry in configured or () if entry not in defaults]
    if defaults and unknown:
        raise ValueError(
            f'{name}: {dataset_type.__name__} has {len(defaults)} classes of its own, and {unknown[0]!r} is none of '
            "them: for other classes take type='BaseSegDataset' and say with reduce_zero_label whether 0 "
            'is unlabelled'
        )
    number = len(configured or defaults)
    if not number:
        raise ValueError(f'{name} has no classes: set metainfo=dict(classes=(...)) in each dataset')
    wrong = [(path, value) for path, value in _heads(cfg.model, ('model',)) if value != number]
    if wrong:
        found = f'{number} classes' if configured else f'the {number} classes of {dataset_type.__name__}'
        hint = 'set --cfg-options ' + ' '.join(f'{path}={number}' for path, _ in wrong)
        if not configured:
            hint += "; or name classes of your own: type='BaseSegDataset', metainfo=dict(classes=(...))"
        raise ValueError(f'{name} has {found}, and {wrong[0][0]} is {wrong[0][1]}: {hint}')


def _heads(node: object, path: tuple = ()) -> Iterator[tuple[str, int]]:
    """Yield dotted path and number of classes of every head that labels pixels."""
    in_head = any(str(part).endswith('_head') for part in path)
    # STDC's auxiliary head for edges has two classes for any data set.
    if in_head and isinstance(node, dict) and 'num_classes' in node and node.get('type') != 'STDCHead':
        yield '.'.join(map(str, (*path, 'num_classes'))), node['num_classes']
    for key, value in node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ():
        yield from _heads(value, (*path, key))


def _check_folders(name: str, config: dict) -> None:
    """Check that the folders and the list of a data set exist."""
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


def _layout(dataset_type: str) -> str:
    return ADE_LAYOUT if dataset_type == 'ADE20KDataset' else LAYOUT


def _check_pairs(name: str, dataset: BaseSegDataset, records: list[dict]) -> None:
    """Check that all images and maps exist, by one listing per folder: faster than a look-up of each file."""
    for key, noun in (('img_path', 'images'), ('seg_map_path', 'segmentation maps')):
        paths = [record[key] for record in records if key in record]
        folders = {
            folder: set(os.listdir(folder)) if os.path.isdir(folder) else set()
            for folder in {os.path.dirname(path) for path in paths}
        }
        missing = [path for path in paths if os.path.basename(path) not in folders[os.path.dirname(path)]]
        if missing:
            raise FileNotFoundError(
                f'{missing[0]} does not exist; {len(missing)} such {noun} of {len(paths)} are missing ({name}): look '
                f'at data_prefix.{key} and {"img_suffix" if noun == "images" else "seg_map_suffix"}'
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
    """Replace the loading steps of a pipeline in place by ``CheckedImage`` and ``CheckedMap``, and return them."""
    ignored = [255, *(node['ignore_index'] for node in dicts(cfg.model) if 'ignore_index' in node)]
    steps = []
    for step in dicts(config.get('pipeline')):
        if step.get('type') in IMAGE_TYPES:
            step['type'] = CheckedImage.__name__
        elif step.get('type') in MAP_TYPES:
            reduced = step.get('reduce_zero_label')
            if reduced is not None and reduced != dataset.reduce_zero_label:
                raise ValueError(
                    f'{name} has reduce_zero_label={dataset.reduce_zero_label}, and LoadAnnotations of '
                    f'its pipeline has {reduced}: leave it out there'
                )
            classes = len(dataset.metainfo['classes'])
            step.update(type=CheckedMap.__name__, num_classes=classes, ignore_index=ignored[-1])
        else:
            continue
        steps.append(step)
    return steps


def _read_sample(records: list[dict], steps: list[dict]) -> None:
    """Load and check a few images and maps, spread over the data set."""
    if [step['type'] for step in steps] != [CheckedImage.__name__, CheckedMap.__name__]:
        return  # there are no maps, or other transforms load them
    transforms = [TRANSFORMS.build(step) for step in steps]
    for record in records[:: -(-len(records) // SAMPLE)]:
        results = dict(record, seg_fields=[])
        for transform in transforms:
            results = transform(results)


register_layout('ADE20KDataset', ADE_LAYOUT)
for _type in ('BaseSegDataset', 'CityscapesDataset', 'PascalVOCDataset'):
    register_layout(_type, LAYOUT)
register_check(check_segmentation)
