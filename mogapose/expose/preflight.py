"""Checks of ExPose's configs before anything is built: HumanData files, conventions, body models."""

from collections.abc import Sequence
from pathlib import Path

from mmengine.config import Config

from moganet.run.config import dicts
from moganet.run.preflight import datasets_of, register_check, register_layout

from .body_models.files import BODY_MODELS, read_body_model
from .data.datasets import HumanDataDataset
from .data.human_data import HumanData
from .evaluation.metrics import FaceScanMetric, HandMeshMetric

LAYOUT = (
    'preprocessed_datasets/*.npz (HumanData; tools/convert_expose_data.py writes them) and the folders of images that '
    'data_prefix names'
)
TYPES = (HumanDataDataset.__name__, f'mogapose.{HumanDataDataset.__name__}')
# Metrics with what a file has one of where it can be measured, and the converter that writes it.
TRUTH = {
    HandMeshMetric.__name__: (('gt_vertices',), 'freihand'),
    FaceScanMetric.__name__: (('subject', 'vertices'), 'stirling'),
}


def check_expose(cfg: Config, dataloaders: Sequence[str]) -> None:
    """Look for files, and compare the data sets with the body model and the metric.

    Raises:
        FileNotFoundError: a HumanData file or a body model is missing; the message says where it comes from.
        ValueError: a file that is none, data of another part of the body than the model's, or without what
            their metric compares with.
    """
    if cfg.get('default_scope') != 'mogapose':
        return
    kind = _check_body_model(cfg)
    for name, dataset in datasets_of(cfg, dataloaders):
        if dataset.get('type') not in TYPES or not dataset.get('ann_file'):
            continue
        with HumanData(Path(dataset['data_root'], dataset['ann_file'])) as data:
            _check_truth(data, cfg.get(name.replace('dataloader', 'evaluator')))
        if kind is not None and dataset.get('convention') != kind:
            raise ValueError(
                f'{name}.dataset.convention is {dataset.get("convention")!r}, and the body model of the config is '
                f'{BODY_MODELS[kind].title}: expected {kind!r}'
            )


def _check_truth(data: HumanData, evaluator: dict | list | None) -> None:
    for metric in evaluator if isinstance(evaluator, list | tuple) else [evaluator or {}]:
        kind = str(metric.get('type')).split('.')[-1]
        keys, converter = TRUTH.get(kind, ((), ''))
        if keys and not data.keys & set(keys):
            raise ValueError(
                f'{data.path}: has no {" or ".join(keys)}, with which {kind} compares; tools/convert_expose_data.py '
                f'{converter} writes a file that has'
            )


def _check_body_model(cfg: Config) -> str | None:
    """Convention of the config's body model, whose file is there."""
    for node in dicts(cfg.get('model')):
        if 'path' not in node or 'type' not in node:
            continue
        kind = str(node['type']).split('.')[-1].lower()
        if kind in BODY_MODELS:
            path = Path(node['path'])
            if not (path.is_file() or path.with_suffix('.npz').is_file()):
                read_body_model(path, kind)  # says where it comes from
            return kind
    return None


register_layout(HumanDataDataset.__name__, LAYOUT)
register_check(check_expose)
