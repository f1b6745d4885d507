"""Prediction of single images, without a data set."""

from pathlib import Path

import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmpretrain.datasets.categories import IMAGENET_CATEGORIES
from mmpretrain.registry import MODELS, TRANSFORMS

from moganet.checkpoint import load_for_inference
from moganet.io.readable import require_readable

from .draw import draw_top5


class Predictor:
    """A classifier with the weights of a checkpoint and the test pipeline of its config.

    Args:
        cfg: A classification config.
        checkpoint: A file, an address or moganet://NAME.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: the checkpoint does not match the whole model.
    """

    def __init__(self, cfg: Config, checkpoint: str) -> None:
        preprocessor = dict(cfg.get('data_preprocessor') or {})
        with DefaultScope.overwrite_default_scope('mmpretrain'):
            model = MODELS.build(dict(cfg.model, data_preprocessor=preprocessor))
            self.pipeline = Compose([TRANSFORMS.build(step) for step in cfg.test_dataloader.dataset.pipeline])
        self.model = model.to(get_device()).eval()
        saved_classes = load_for_inference(self.model, checkpoint)
        num_classes = cfg.model.head.num_classes
        defaults = IMAGENET_CATEGORIES if num_classes == len(IMAGENET_CATEGORIES) else map(str, range(num_classes))
        self.classes = saved_classes or list(defaults)

    @torch.no_grad()
    def __call__(self, image: str | Path) -> torch.Tensor:
        """Predict an image file.

        Returns:
            Probability of each class, (classes,).

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file cannot be read as an image.
        """
        require_readable(image)
        data = self.pipeline(dict(img_path=str(image)))
        return self.model.test_step(pseudo_collate([data]))[0].pred_score.cpu()

    def draw(self, image: str | Path, path: str | Path) -> str:
        """Write a figure of the prediction of ``image`` to ``path`` and return the best class with its probability."""
        scores = self(image)
        draw_top5(image, scores.tolist(), self.classes, path)
        best = int(scores.argmax())
        return f'{self.classes[best]} ({scores[best]:.1%})'
