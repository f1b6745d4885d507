"""Prediction of single images, without a data set."""

import copy
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmseg.datasets import BaseSegDataset
from mmseg.registry import DATASETS, MODELS, TRANSFORMS

from moganet.checkpoint import load_with_meta
from moganet.io.images import read_image
from moganet.run.engine import adapt_to_hardware

from .draw import Colours, describe, draw_labels
from .preflight import MAP_TYPES


class Predictor:
    """A segmentor with the weights of a checkpoint and the test pipeline of its config.

    Args:
        cfg: A segmentation config.
        checkpoint: A file, an address or moganet://NAME.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: the checkpoint does not match the whole model.
    """

    def __init__(self, cfg: Config, checkpoint: str) -> None:
        cfg = copy.deepcopy(cfg)
        adapt_to_hardware(cfg)
        dataset = cfg.test_dataloader.dataset
        steps = [step for step in dataset.pipeline if step['type'] not in MAP_TYPES]
        with DefaultScope.overwrite_default_scope('mmseg'):
            model = MODELS.build(cfg.model)
            self.pipeline = Compose([TRANSFORMS.build(step) for step in steps])
            configured = _meta(dataset)
        self.model = model.to(get_device()).eval()
        meta = load_with_meta(self.model, checkpoint)
        self.classes = [str(name) for name in meta.get('classes') or configured['classes']]
        palette = meta.get('palette')
        if palette is None or len(palette) != len(self.classes):
            palette = configured['palette']
        self.palette: Colours = palette

    @torch.no_grad()
    def __call__(self, image: str | Path) -> np.ndarray:
        """Predict the class of each pixel of an image file.

        Returns:
            Labels, (H, W) at the size of the file's image.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file cannot be read as an image.
        """
        read_image(image)
        data = self.pipeline(dict(img_path=str(image)))
        return self.model.test_step(pseudo_collate([data]))[0].pred_sem_seg.data[0].cpu().numpy()

    def draw(self, image: str | Path, path: str | Path) -> str:
        """Write the predicted labels of ``image`` to ``path`` and return the fraction of each class as text."""
        labels = self(image)
        draw_labels(read_image(image), labels, self.classes, self.palette, path)
        return describe(labels, self.classes)


def _meta(dataset: dict) -> dict:
    """Return classes and palette in the config, else of its data set's type; mmseg makes up a palette if none fits."""
    meta = {**DATASETS.get(dataset['type']).METAINFO, **(dataset.get('metainfo') or {})}
    if len(meta.get('palette') or ()) != len(meta['classes']):
        meta.pop('palette', None)
    return BaseSegDataset(metainfo=meta, lazy_init=True).metainfo
