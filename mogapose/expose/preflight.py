"""Checks of ExPose's configs before models and data sets are built: HumanData files, conventions, body models."""

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
# For each metric the entries of which a file needs one, and the converter that writes such a file.
TRUTH = {
    HandMeshMetric.__name__: (('gt_vertices',), 'freihand'),
    FaceScanMetric.__name__: (('subject', 'vertices'), 'stirling'),
}


def check_expose(cfg: Config, dataloaders: Sequence[str]) -> None:
    """Check that the files exist, and compare the data sets with the body model and the metric.

    Args:
        cfg: The config; other scopes than 'mogapose' are ignored.
        dataloaders: Names of the loaders to check.

    Raises:
        FileNotFoundError: A HumanData file or a body model does not exist; the message says where to get it.
        ValueError: A file is damaged, shows another part of the body than the model, or lacks the entries that its
            metric needs.
    """
    if cfg.get('default_scope') != 'mogapose':
        return
    convention = _check_body_model(cfg)
    for name, dataset in datasets_of(cfg, dataloaders):
        if dataset.get('type') not in TYPES or not dataset.get('ann_file'):
            continue
        with HumanData(Path(dataset['data_root'], dataset['ann_file'])) as data:
            _check_truth(data, cfg.get(name.replace('dataloader', 'evaluator')))
        if convention is not None and dataset.get('convention') != convention:
            raise ValueError(
                f'{name}.dataset.convention is {dataset.get("convention")!r}, and the body model of the config is '
                f'{BODY_MODELS[convention].title}: expected {convention!r}'
            )


def _check_truth(data: HumanData, evaluator: dict | list | None) -> None:
    for metric in evaluator if isinstance(evaluator, list | tuple) else [evaluator or {}]:
        metric_type = str(metric.get('type')).split('.')[-1]
        keys, converter = TRUTH.get(metric_type, ((), ''))
        if keys and not data.keys & set(keys):
            raise ValueError(
                f'{data.path}: has no {" or ".join(keys)}, with which {metric_type} compares; '
                f'tools/convert_expose_data.py {converter} writes a file that has'
            )


def _check_body_model(cfg: Config) -> str | None:
    """Return the convention of the config's body model, None without one, and check that its file exists."""
    for node in dicts(cfg.get('model')):
        if 'path' not in node or 'type' not in node:
            continue
        convention = str(node['type']).split('.')[-1].lower()
        if convention in BODY_MODELS:
            path = Path(node['path'])
            if not (path.is_file() or path.with_suffix('.npz').is_file()):
                read_body_model(path, convention)  # raises an error that says where to get the file
            return convention
    return None


register_layout(HumanDataDataset.__name__, LAYOUT)
register_check(check_expose)
