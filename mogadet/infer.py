"""Prediction of single images, without a data set."""

from collections import Counter
from pathlib import Path

import torch
from mmdet.registry import DATASETS, MODELS, TRANSFORMS
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData

from moganet.checkpoint import load_for_inference
from moganet.io.images import read_image, write_image

from .draw import MIN_SCORE, draw_instances


class Predictor:
    """A detector with the weights of a checkpoint and the test pipeline of its config.

    Args:
        cfg: A detection config.
        checkpoint: A file, an address or moganet://NAME.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: the checkpoint does not match the whole model.
    """

    def __init__(self, cfg: Config, checkpoint: str) -> None:
        steps = [step for step in cfg.test_dataloader.dataset.pipeline if step['type'] != 'LoadAnnotations']
        with DefaultScope.overwrite_default_scope('mmdet'):
            model = MODELS.build(dict(cfg.model))
            self.pipeline = Compose([TRANSFORMS.build(step) for step in steps])
        self.model = model.to(get_device()).eval()
        self.classes = load_for_inference(self.model, checkpoint) or [str(name) for name in _classes(cfg)]

    @torch.no_grad()
    def __call__(self, image: str | Path) -> InstanceData:
        """Detect the objects in an image file.

        Returns:
            mmdet's instances: ``bboxes`` (N, 4) as x1, y1, x2, y2 in pixels, ``labels`` (N,), ``scores`` (N,) and,
            with a mask head, ``masks`` (N, H, W).

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file cannot be read as an image.
        """
        read_image(image)
        data = self.pipeline(dict(img_path=str(image), img_id=0))
        sample: DetDataSample = self.model.test_step(pseudo_collate([data]))[0]
        return sample.pred_instances.cpu()

    def draw(self, image: str | Path, path: str | Path) -> str:
        """Write the detections of ``image`` to ``path`` and return the number of objects per class as text."""
        instances = self(image)
        write_image(draw_instances(read_image(image), instances, self.classes), path)
        certain = instances.labels[instances.scores >= MIN_SCORE].tolist()
        counts = Counter(self.classes[label] for label in certain)
        return ', '.join(f'{count} x {name}' for name, count in counts.most_common()) or 'nothing'


def _classes(cfg: Config) -> list[str]:
    """Return the classes in the config, else the classes of its data set's type."""
    dataset = cfg.test_dataloader.dataset
    configured = (dataset.get('metainfo') or {}).get('classes')
    with DefaultScope.overwrite_default_scope('mmdet'):
        return configured or DATASETS.get(dataset['type']).METAINFO['classes']
