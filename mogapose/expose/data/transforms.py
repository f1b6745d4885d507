"""Transforms of ExPose: loading, augmentation, the crop, and the packing of samples.

Random numbers are drawn in the order and from the distributions of MMHuman3D. Images are BGR, as OpenCV reads them; the
model's data preprocessor converts them to RGB and normalises them. ``center`` and ``scale`` are the middle and the
sides of the square to cut out, in pixels of the image.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from mmengine.structures import BaseDataElement

from moganet.io.images import read_bgr

from ..models.conventions import FLIP_PAIRS, SMPLX_FLIP_PAIRS
from ..registry import TRANSFORMS

META_KEYS = ('img_path', 'sample_idx', 'dataset', 'convention', 'ori_shape', 'crop_transform', 'flipped', 'rotation')
# For each of SMPL-X's 21 body joints its mirrored joint. The pelvis, joint 0, is the global orientation.
_BODY_FLIP = np.arange(21)
for _left, _right in SMPLX_FLIP_PAIRS:
    if max(_left, _right) <= 21:
        _BODY_FLIP[[_left - 1, _right - 1]] = _right - 1, _left - 1


@TRANSFORMS.register_module()
class LoadImageFromFile:
    """Reads ``img_path`` and adds ``img`` (H, W, 3) uint8 and its ``ori_shape`` (H, W)."""

    def __call__(self, results: dict) -> dict:
        """Return the sample with its image.

        Raises:
            ValueError: The file does not exist or is no image.
        """
        image = read_bgr(results['img_path'])
        return dict(results, img=image, ori_shape=image.shape[:2])


@TRANSFORMS.register_module()
class BBoxCenterJitter:
    """Moves the crop at random. Its centre stays inside the image.

    Args:
        factor: Largest shift in each direction, as a share of the crop's size.
    """

    def __init__(self, factor: float = 0.0) -> None:
        self.factor = factor

    def __call__(self, results: dict) -> dict:
        """Return the sample with a new ``center``."""
        if not self.factor:
            return results
        reach = self.factor * results['scale'][0]
        center = results['center'] + np.random.rand(2) * 2 * reach - reach
        height, width = results['img'].shape[:2]
        return dict(results, center=center.clip(0, (width, height)))


@TRANSFORMS.register_module()
class RandomHorizontalFlip:
    """Mirrors image, key points and rotations; left and right hands are exchanged.

    The expression space is not symmetric: a mirrored sample has no expression label.

    Args:
        flip_prob: Probability of a flip.
    """

    def __init__(self, flip_prob: float = 0.5) -> None:
        self.flip_prob = flip_prob

    def __call__(self, results: dict) -> dict:
        """Return the sample, flipped or not, with ``flipped``.

        Raises:
            ValueError: A right hand would be mirrored to a left one.
        """
        if np.random.rand() >= self.flip_prob:
            return dict(results, flipped=False)
        if results['convention'] == 'mano':
            raise ValueError(
                f'RandomHorizontalFlip(flip_prob={self.flip_prob}) would make left hands of right ones: set flip_prob=0'
            )
        width = results['img'].shape[1]
        flipped = dict(results, img=np.ascontiguousarray(results['img'][:, ::-1]), flipped=True)
        flipped['center'] = np.array((width - 1 - results['center'][0], results['center'][1]))
        order = np.arange(len(results['keypoints2d']))
        for left, right in FLIP_PAIRS[results['convention']]:
            order[[left, right]] = right, left
        flipped['keypoints2d'] = results['keypoints2d'][order]
        flipped['keypoints2d'][:, 0] = width - 1 - flipped['keypoints2d'][:, 0]
        flipped['keypoints3d'] = results['keypoints3d'][order] * np.array((-1, 1, 1, 1), np.float32)
        return _flip_parameters(flipped)


def _flip_parameters(results: dict) -> dict:
    """Mirror rotations and exchange left and right, in place."""
    mirror = np.array((1, -1, -1), np.float32)  # x stays, rotations about y and z change sign
    for name in ('global_orient', 'jaw_pose', 'body_pose', 'left_hand_pose', 'right_hand_pose'):
        if name in results:
            results[name] = results[name] * mirror
    if 'body_pose' in results:
        results['body_pose'] = results['body_pose'][_BODY_FLIP]
        for left, right in (('left_hand_pose', 'right_hand_pose'), ('has_left_hand_pose', 'has_right_hand_pose')):
            results[left], results[right] = results[right], results[left]
    if 'expression' in results:
        results['expression'] = np.zeros_like(results['expression'])
        results['has_expression'] = 0.0
    return results


@TRANSFORMS.register_module()
class GetRandomScaleRotation:
    """Draws size and in-plane rotation of the crop.

    Args:
        rot_factor: Standard deviation of the rotation in degrees. It is clipped at twice that.
        scale_factor: Standard deviation of the size factor around 1. It is clipped at 1 - and 1 + ``scale_factor``.
        rot_prob: Probability of a rotation.
    """

    def __init__(self, rot_factor: float = 30, scale_factor: float = 0.25, rot_prob: float = 0.6) -> None:
        self.rot_factor, self.scale_factor, self.rot_prob = rot_factor, scale_factor, rot_prob

    def __call__(self, results: dict) -> dict:
        """Return the sample with a new ``scale`` and ``rotation`` in degrees."""
        spread, deviation = self.scale_factor, self.rot_factor
        factor = np.clip(1 + spread * np.random.randn(), 1 - spread, 1 + spread)
        rotation = np.clip(deviation * np.random.randn(), -2 * deviation, 2 * deviation)
        if np.random.rand() > self.rot_prob:
            rotation = 0.0
        return dict(results, scale=results['scale'] * factor, rotation=float(rotation))


@TRANSFORMS.register_module()
class MeshAffine:
    """Cuts the crop out of the image; outside the image it is black.

    A positive ``rotation`` turns the picture counter-clockwise, and the 3D labels with it. The added ``crop_transform``
    (2, 3) maps pixels of the image, after a flip, to pixels of the crop.

    Args:
        img_res: Height and width of the crop in pixels.
    """

    def __init__(self, img_res: int) -> None:
        self.img_res = img_res

    def __call__(self, results: dict) -> dict:
        """Return the sample with ``img`` (img_res, img_res, 3) and labels in the crop."""
        rotation = results.get('rotation', 0.0)
        matrix = crop_transform(results['center'], results['scale'][0], rotation, self.img_res)
        points = results['keypoints2d'].copy()
        seen = points[:, 2] > 0
        points[seen, :2] = points[seen, :2] @ matrix[:, :2].T + matrix[:, 2]
        image = cv2.warpAffine(results['img'], matrix, (self.img_res, self.img_res), flags=cv2.INTER_LINEAR)
        cropped = dict(results, img=image, crop_transform=matrix, keypoints2d=points, rotation=rotation)
        return _rotate(cropped, np.deg2rad(rotation)) if rotation else cropped


def crop_transform(center: np.ndarray, size: float, rotation: float, resolution: int) -> np.ndarray:
    """Compute the affine map from an image to a crop.

    Args:
        center: (2,), middle of the crop in the image, x and y in pixels.
        size: Side of the crop in the image, in pixels.
        rotation: In degrees.
        resolution: Side of the crop in its own pixels; the middle is mapped to half of it.

    Returns:
        The matrix (2, 3), float64.
    """
    angle = np.deg2rad(rotation)
    up = size / 2 * np.array((np.sin(angle), -np.cos(angle)))
    # The middle, the middle of the upper edge, and the upper left corner. As in MMHuman3D, each is computed from the
    # previous ones after these are rounded to float32.
    middle, edge = np.asarray(center, np.float32), np.asarray(center + up, np.float32)
    down = middle - edge
    source = np.stack((middle, edge, edge + np.array((-down[1], down[0]))))
    half = resolution / 2
    target = np.array(((half, half), (half, 0), (0, 0)), np.float32)
    return cv2.getAffineTransform(source.astype(np.float32), target)


def _rotate(results: dict, angle: float) -> dict:
    """Turn the 3D labels by ``angle`` radians in the image plane, in place."""
    cos, sin = np.cos(angle), np.sin(angle)
    turn = np.array(((cos, sin, 0), (-sin, cos, 0), (0, 0, 1)))
    for name in ('keypoints3d', 'gt_vertices', 'gt_joints'):
        if name in results:
            points = results[name].copy()
            points[:, :3] = points[:, :3] @ turn.T
            results[name] = points
    orient, _ = cv2.Rodrigues(np.float64(results['global_orient'][0]))
    orient, _ = cv2.Rodrigues(turn @ orient)
    results['global_orient'] = orient.reshape(1, 3).astype(np.float32)
    return results


@TRANSFORMS.register_module()
class RandomChannelNoise:
    """Multiplies each channel by its own factor.

    Args:
        noise_factor: The factors are uniform between 1 - ``noise_factor`` and 1 + ``noise_factor``.
    """

    def __init__(self, noise_factor: float = 0.4) -> None:
        self.noise_factor = noise_factor

    def __call__(self, results: dict) -> dict:
        """Return the sample with a new ``img``."""
        factors = np.random.uniform(1 - self.noise_factor, 1 + self.noise_factor, 3)
        # OpenCV requires four factors, also for an image of three channels.
        return dict(results, img=cv2.multiply(results['img'], (*factors, 1.0)))


@TRANSFORMS.register_module()
class SimulateLowRes:
    """Shrinks the crop by a random factor and enlarges it again, bilinearly both times.

    Args:
        cat_factors: The factors to choose from. With fewer than two the crop does not change.
    """

    def __init__(self, cat_factors: Sequence[float] = (1.0,)) -> None:
        self.cat_factors = cat_factors

    def __call__(self, results: dict) -> dict:
        """Return the sample with a new ``img``."""
        if len(self.cat_factors) < 2:
            return results
        factor = self.cat_factors[np.random.randint(0, len(self.cat_factors))]
        height, width = results['img'].shape[:2]
        small = cv2.resize(results['img'], (int(width // factor), int(height // factor)))
        return dict(results, img=cv2.resize(small, (width, height)))


@TRANSFORMS.register_module()
class PackExPoseInputs:
    """Packs a sample into tensors: ``inputs`` (3, R, R) uint8, and ``data_samples`` with the labels as its fields."""

    def __call__(self, results: dict) -> dict:
        """Return the dict of ``inputs`` and ``data_samples``."""
        sample = BaseDataElement(metainfo={key: results[key] for key in META_KEYS if key in results})
        for name, value in results.items():
            if name.startswith('has_'):
                sample.set_field(torch.tensor([float(value)]), name)
            elif isinstance(value, np.ndarray) and name not in ('img', 'center', 'scale', *META_KEYS):
                sample.set_field(torch.from_numpy(value.astype(np.float32)), name)
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        return dict(inputs=torch.from_numpy(image), data_samples=sample)
