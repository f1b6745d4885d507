"""Predictions for single images, without a data set."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.device import get_device
from mmengine.registry import DefaultScope
from mmengine.structures import BaseDataElement

from moganet.checkpoint import load_for_inference
from moganet.io.images import read_image, write_image

from ..boxes import PERSON, inside
from .draw import draw_body, project
from .models.conventions import FINGERS
from .registry import MODELS, TRANSFORMS

# What there is in a box.
SUBJECTS = dict(mano='hand', flame='face', smplx=PERSON)


def subject(cfg: Config) -> str:
    """What is to be in a box: the class that is taken of a detector or a file of boxes."""
    return SUBJECTS[cfg.test_dataloader.dataset.convention]


class Predictor:
    """An ExPose network with the weights of a checkpoint, the body model and the test pipeline of its config.

    Args:
        cfg: An ExPose config.
        checkpoint: A file, an address or moganet://NAME.

    Raises:
        ValueError, FileNotFoundError: the checkpoint cannot be loaded whole, or the body model's file is not there.
    """

    def __init__(self, cfg: Config, checkpoint: str) -> None:
        with DefaultScope.overwrite_default_scope('mogapose'):
            model = MODELS.build(dict(cfg.model))
            self.pipeline = Compose([TRANSFORMS.build(step) for step in cfg.test_dataloader.dataset.pipeline])
        self.model = model.to(get_device()).eval()
        load_for_inference(self.model, checkpoint)
        self.faces = self.model.body_model.faces.cpu().numpy()
        self.convention = self.model.convention

    @torch.no_grad()
    def __call__(self, image: str | Path, boxes: np.ndarray | Sequence | None = None) -> dict[str, np.ndarray]:
        """What the network says of the hands, faces or bodies on an image file.

        Args:
            image: The file.
            boxes: (N, 4), one in each, as x1, y1, x2, y2 in pixels; None is one box, the whole image.

        Returns:
            ``vertices`` (N, V, 3) and ``joints`` (N, K, 3) in metres, ``faces`` (N, F, 3); ``cam`` (N, 3), scale and
            translation of the weak perspective in the crop; ``keypoints`` (N, K, 2) in pixels of the image; ``crops``
            (N, R, R, 3) uint8, RGB; the parameters by their names, rotations as matrices.

        Raises:
            ValueError: the image cannot be read, there is no box, or one has no pixel of the image.
        """
        samples, crops = self._predict(image, boxes)
        found = {name.removeprefix('pred_'): [] for name in samples[0].keys() if name.startswith('pred_')}
        for name, values in found.items():
            values += [sample.get(f'pred_{name}').cpu().numpy() for sample in samples]
        keypoints = [self._to_image(*args) for args in zip(found['joints'], found['cam'], samples, crops, strict=True)]
        return {name: np.stack(values) for name, values in dict(found, keypoints=keypoints, crops=crops).items()}

    def draw(self, image: str | Path, path: str | Path, boxes: np.ndarray | Sequence | None = None) -> str:
        """Write the picture of a prediction, a row for each box, and return it in words.

        Args:
            image, boxes: As in ``__call__``.
            path: The picture's file.
        """
        if boxes is not None and not len(boxes):
            write_image(read_image(image), path)
            return f'no {SUBJECTS[self.convention]}: no boxes'
        found = self(image, boxes)
        values = zip(*(found[name] for name in ('crops', 'vertices', 'joints', 'cam')), strict=True)
        rows = [draw_body(*part, self.faces, self.convention) for part in values]
        write_image(np.concatenate(rows), path)
        return '; '.join(
            describe(found['joints'][i], found['global_orient'][i, 0], self.convention) for i in range(len(rows))
        )

    def _predict(self, image: str | Path, boxes: object) -> tuple[list[BaseDataElement], list[np.ndarray]]:
        height, width = read_image(image).shape[:2]
        boxes = np.array([[0, 0, width, height]] if boxes is None else boxes, float).reshape(-1, 4)
        if not len(boxes):
            raise ValueError(f'{image}: no boxes, where one or more are expected')
        try:
            inside(boxes, width, height)  # a crop may reach beyond the image, but not lie there
        except ValueError as error:
            raise ValueError(f'{image}: {error}') from None
        sizes = boxes[:, 2:] - boxes[:, :2]
        batch = [
            self.pipeline(
                dict(
                    img_path=str(image),
                    sample_idx=i,
                    convention=self.convention,
                    center=box[:2] + size / 2,
                    scale=np.repeat(size.max(), 2),
                    keypoints2d=np.zeros((0, 3), np.float32),
                )
            )
            for i, (box, size) in enumerate(zip(boxes, sizes, strict=True))
        ]
        crops = [np.ascontiguousarray(data['inputs'].numpy()[::-1].transpose(1, 2, 0)) for data in batch]
        return self.model.test_step(pseudo_collate(batch)), crops

    @staticmethod
    def _to_image(joints: np.ndarray, camera: np.ndarray, sample: BaseDataElement, crop: np.ndarray) -> np.ndarray:
        matrix = np.asarray(sample.crop_transform, float)
        return (project(joints, camera, len(crop)) - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


def describe(joints: np.ndarray, orient: np.ndarray, convention: str) -> str:
    """A prediction in words: how far fingers are bent, or a face or body is turned away, in degrees.

    Args:
        joints: (K, 3).
        orient: (3, 3) global orientation.
        convention: 'mano', 'flame' or 'smplx'.
    """
    if convention == 'mano':
        bends = []
        for first in range(1, 21, 4):
            near, far = joints[first + 1] - joints[first], joints[first + 3] - joints[first + 2]
            bends.append(_degrees(near @ far / np.linalg.norm(near) / np.linalg.norm(far)))
        return 'right hand, bent: ' + ', '.join(f'{name} {bend}' for name, bend in zip(FINGERS, bends, strict=True))
    # Who faces the camera is turned by half a turn about x: the direction of the face, z, is then -z.
    return f'{"face" if convention == "flame" else "body"} turned away by {_degrees(-orient[2, 2])} degrees'


def _degrees(cosine: float) -> int:
    return round(float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))))
