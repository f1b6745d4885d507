"""Predictions for single images, without a data set."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData
from mmpose.datasets.datasets.utils import parse_pose_metainfo
from mmpose.registry import DATASETS, MODELS, TRANSFORMS

from moganet.checkpoint import load_for_inference
from moganet.io.images import read_image, write_image

from .boxes import PERSON, inside
from .draw import MIN_SCORE, draw_skeletons

# The keys of a data set's metainfo that pipelines and models read.
META_KEYS = ('dataset_name', 'flip_indices', 'flip_pairs', 'skeleton_links')
BATCH_SIZE = 32


def subject(cfg: Config) -> str:
    """Return the subject in a box: the class to use of a detector or a file of boxes.

    Args:
        cfg: A config; not used.
    """
    return PERSON


class Predictor:
    """A top-down pose estimator with the weights of a checkpoint and the test pipeline of its config.

    Args:
        cfg: A config of top-down pose estimation.
        checkpoint: A file, an address or moganet://NAME.

    Raises:
        FileNotFoundError: The checkpoint does not exist.
        ValueError: The config is of another model, or the checkpoint cannot be read or lacks tensors.
    """

    def __init__(self, cfg: Config, checkpoint: str) -> None:
        if cfg.model.type.split('.')[-1] != 'TopdownPoseEstimator':
            raise ValueError(f'{cfg.filename} has a {cfg.model.type}: expected a TopdownPoseEstimator')
        dataset = cfg.test_dataloader.dataset
        with DefaultScope.overwrite_default_scope('mmpose'):
            model = MODELS.build(dict(cfg.model))
            self.pipeline = Compose([TRANSFORMS.build(step) for step in dataset.pipeline])
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # mmpose warns of where it finds its own files
                self.meta = parse_pose_metainfo(dataset.get('metainfo') or DATASETS.get(dataset.type).METAINFO)
        self.model = model.to(get_device()).eval()
        load_for_inference(self.model, checkpoint)

    @torch.no_grad()
    def __call__(self, image: str | Path, boxes: np.ndarray | Sequence | None = None) -> InstanceData:
        """Estimate the poses of the persons on an image.

        Args:
            image: The file.
            boxes: (N, 4) as x1, y1, x2, y2 in pixels, a person in each. By default one box, the whole image.

        Returns:
            mmpose's ``keypoints`` (N, K, 2) in pixels, ``keypoint_scores`` (N, K) and ``bboxes`` (N, 4).

        Raises:
            ValueError: The image cannot be read, or a box is malformed or lies outside the image.
        """
        height, width = read_image(image).shape[:2]
        try:
            boxes = inside([[0, 0, width, height]] if boxes is None else np.reshape(boxes, (-1, 4)), width, height)
        except ValueError as error:
            raise ValueError(f'{image}: {error}') from None
        instances: list[InstanceData] = []
        for start in range(0, len(boxes), BATCH_SIZE):
            batch = pseudo_collate([self._load(image, box) for box in boxes[start : start + BATCH_SIZE]])
            instances += [sample.pred_instances for sample in self.model.test_step(batch)]
        if instances:
            return InstanceData.cat(instances)
        count = len(self.meta['keypoint_id2name'])
        none = np.zeros((0, count), np.float32)
        return InstanceData(
            keypoints=np.zeros((0, count, 2), np.float32), keypoint_scores=none, keypoints_visible=none, bboxes=boxes
        )

    def _load(self, image: str | Path, box: np.ndarray) -> dict:
        """Run the pipeline on a box of an image."""
        meta = {key: self.meta[key] for key in META_KEYS}
        score = np.ones(1, np.float32)
        return self.pipeline(dict(meta, img_path=str(image), img_id=0, id=0, bbox=box[None], bbox_score=score))

    def draw(self, image: str | Path, path: str | Path, boxes: np.ndarray | Sequence | None = None) -> str:
        """Write the picture of a prediction.

        Args:
            image: The file of the image.
            path: The file of the picture.
            boxes: As in ``__call__``.

        Returns:
            The prediction in words: the number of persons, and of joints with a score of at least ``MIN_SCORE``.

        Raises:
            ValueError: The image cannot be read, or a box is malformed or lies outside the image.
        """
        instances = self(image, boxes)
        picture = draw_skeletons(read_image(image), instances, self.meta, boxes=boxes is not None)
        write_image(picture, path)
        if not len(instances):
            return 'nobody: no boxes'
        certain = int((instances.keypoint_scores >= MIN_SCORE).sum())
        people = f'{len(instances)} {"person" if len(instances) == 1 else "people"}'
        return f'{people}, {certain} of {instances.keypoint_scores.size} joints'
