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

# The subject in a box for each convention.
SUBJECTS = dict(mano='hand', flame='face', smplx=PERSON)


def subject(cfg: Config) -> str:
    """Return the subject in a box: the class to use of a detector or a file of boxes.

    Args:
        cfg: An ExPose config.

    Returns:
        'hand', 'face' or 'person'.
    """
    return SUBJECTS[cfg.test_dataloader.dataset.convention]


class Predictor:
    """An ExPose network with the weights of a checkpoint, the body model and the test pipeline of its config.

    Args:
        cfg: An ExPose config.
        checkpoint: A file, an address or moganet://NAME.

    Raises:
        FileNotFoundError: The checkpoint or the body model's file does not exist.
        ValueError: The checkpoint cannot be read or lacks tensors, or the body model's file does not fit.
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
        """Estimate the hands, faces or bodies on an image.

        Args:
            image: The file.
            boxes: (N, 4) as x1, y1, x2, y2 in pixels, one subject in each. By default one box, the whole image.

        Returns:
            A dict of ``vertices`` (N, V, 3) and ``joints`` (N, K, 3) in metres, ``faces`` (N, F, 3); ``cam`` (N, 3),
            scale and translation of the weak perspective in the crop; ``keypoints`` (N, K, 2) in pixels of the image;
            ``crops`` (N, R, R, 3) uint8, RGB; the parameters by their names, rotations as matrices.

        Raises:
            ValueError: The image cannot be read, there is no box, or a box has no pixel of the image.
        """
        samples, crops = self._predict(image, boxes)
        names = [name.removeprefix('pred_') for name in samples[0].all_keys() if name.startswith('pred_')]
        values = {name: [sample.get(f'pred_{name}').cpu().numpy() for sample in samples] for name in names}
        values['keypoints'] = [
            self._to_image(*args) for args in zip(values['joints'], values['cam'], samples, crops, strict=True)
        ]
        values['crops'] = crops
        return {name: np.stack(arrays) for name, arrays in values.items()}

    def draw(self, image: str | Path, path: str | Path, boxes: np.ndarray | Sequence | None = None) -> str:
        """Write the picture of a prediction, with a row for each box.

        Args:
            image: The file of the image.
            path: The file of the picture.
            boxes: As in ``__call__``.

        Returns:
            The prediction in words.

        Raises:
            ValueError: The image cannot be read, or a box has no pixel of the image.
        """
        if boxes is not None and not len(boxes):
            write_image(read_image(image), path)
            return f'no {SUBJECTS[self.convention]}: no boxes'
        prediction = self(image, boxes)
        crops, vertices, joints, cameras = (prediction[name] for name in ('crops', 'vertices', 'joints', 'cam'))
        rows = [
            draw_body(crop, vertices[i], joints[i], cameras[i], self.faces, self.convention)
            for i, crop in enumerate(crops)
        ]
        write_image(np.concatenate(rows), path)
        orients = prediction['global_orient'][:, 0]
        return '; '.join(describe(*body, self.convention) for body in zip(joints, orients, strict=True))

    def _predict(
        self, image: str | Path, boxes: np.ndarray | Sequence | None
    ) -> tuple[list[BaseDataElement], list[np.ndarray]]:
        """Return the predictions of the boxes and their crops (R, R, 3), RGB."""
        height, width = read_image(image).shape[:2]
        boxes = np.array([[0, 0, width, height]] if boxes is None else boxes, float).reshape(-1, 4)
        if not len(boxes):
            raise ValueError(f'{image}: no boxes, where one or more are expected')
        try:
            inside(boxes, width, height)  # a crop may reach beyond the image, but must not lie outside
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
        """Project joints (K, 3) to pixels (K, 2) of the image."""
        matrix = np.asarray(sample.crop_transform, float)
        return (project(joints, camera, len(crop)) - matrix[:, 2]) @ np.linalg.inv(matrix[:, :2]).T


def describe(joints: np.ndarray, orient: np.ndarray, convention: str) -> str:
    """Describe a prediction in words: the bend of each finger, or the turn of a face or body away from the camera.

    Args:
        joints: (K, 3).
        orient: (3, 3), the rotation matrix of the global orientation.
        convention: 'mano', 'flame' or 'smplx'.

    Returns:
        A phrase with angles in whole degrees.
    """
    if convention == 'mano':
        bends = []
        for first in range(1, 21, 4):
            lower, upper = joints[first + 1] - joints[first], joints[first + 3] - joints[first + 2]
            bends.append(_degrees(lower @ upper / np.linalg.norm(lower) / np.linalg.norm(upper)))
        return 'right hand, bent: ' + ', '.join(f'{name} {bend}' for name, bend in zip(FINGERS, bends, strict=True))
    # A person who faces the camera is turned by half a turn about x: the direction of the face is then -z.
    return f'{"face" if convention == "flame" else "body"} turned away by {_degrees(-orient[2, 2])} degrees'


def _degrees(cosine: float) -> int:
    return round(float(np.rad2deg(np.arccos(np.clip(cosine, -1, 1)))))
