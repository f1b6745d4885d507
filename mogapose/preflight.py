"""Checks of keypoint data before models and data sets are built. Those of an annotation file are in ``coco.py``."""

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from moganet.run.config import EVALUATORS, dicts
from moganet.run.preflight import register_check, register_layout

from .boxes import is_standard
from .coco import CheckedCoco

COCO_TYPES = ('CocoDataset', 'mmpose.CocoDataset', CheckedCoco.__name__)
LAYOUT = 'annotations/*.json (COCO keypoint format) and the folders of images that data_prefix names'
# Heads whose out_channels is the number of joints.
HEADS = ('HeatmapHead', 'SimCCHead', 'RTMCCHead', 'ViPNASHead')


def check_pose(cfg: Config, dataloaders: Sequence[str]) -> None:
    """Check that files exist, compare joints with the head, and have COCO's files checked when they are read.

    A COCO json is parsed only once, by the data set. mmpose's CocoDataset is therefore replaced by ``CheckedCoco``.

    Args:
        cfg: The config, whose data sets are changed in place; other scopes than 'mmpose' are ignored.
        dataloaders: Names of the loaders to check.

    Raises:
        FileNotFoundError: An annotation file or a file of boxes does not exist. The standard file of boxes may be
            missing, since annotated boxes replace it.
        ValueError: The head has another number of joints.
    """
    if cfg.get('default_scope') != 'mmpose':  # data sets of another task may have the same names
        return
    for name in dataloaders:
        for dataset in dicts(cfg.get(name)):
            if not dataset.get('ann_file') or dataset.get('type') not in COCO_TYPES:
                continue
            root = dataset.get('data_root')
            _require(Path(root or '', dataset['ann_file']), f'{name}.dataset.ann_file', f'expected {LAYOUT}')
            boxes = dataset.get('bbox_file')
            if boxes and not is_standard(boxes, root):
                _require(boxes, f'{name}.dataset.bbox_file', 'None takes the annotated boxes')
            _check_head(cfg, name, dataset)
            dataset['type'] = CheckedCoco.__name__
    for name in EVALUATORS:
        if name.replace('evaluator', 'dataloader') in dataloaders:
            for metric in dicts(cfg.get(name)):
                _require_truth(metric, name)


def _require(path: str | Path, key: str, hint: str) -> None:
    if '://' not in str(path) and not Path(path).is_file():
        raise FileNotFoundError(f'{path} ({key}) does not exist; {hint}')


def _require_truth(metric: dict, name: str) -> None:
    if metric.get('type') in ('CocoMetric', 'mmpose.CocoMetric') and metric.get('ann_file'):
        _require(metric['ann_file'], f'{name}.ann_file', "expected the file that the loader's data set reads")


def _check_head(cfg: Config, name: str, dataset: dict) -> None:
    head = cfg.model.get('head') or {}
    converted = any(step.get('type') == 'KeypointConverter' for step in dataset.get('pipeline') or ())
    if head.get('type', '').split('.')[-1] not in HEADS or 'combined' in str(head.get('decoder')) or converted:
        return
    joints = CheckedCoco._load_metainfo(dataset.get('metainfo'))
    if joints['num_keypoints'] != head['out_channels']:
        number = joints['num_keypoints']
        raise ValueError(
            f'{name}.dataset has the {number} joints of {joints["dataset_name"]!r}, and model.head.out_channels is '
            f"{head['out_channels']}: set --cfg-options model.head.out_channels={number}, or the dataset's metainfo"
        )


register_layout('CocoDataset', LAYOUT)
register_check(check_pose)
