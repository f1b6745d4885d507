"""Augmentations of ExPose, the crop, and the packing of samples. Random numbers are drawn as MMHuman3D draws them.

Images are BGR as OpenCV reads them; the model's data preprocessor makes them RGB and normalises them. ``center`` and
``scale`` are the square that is cut out, in pixels of the image.
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
# SMPL-X's body joints after a mirror; the pelvis, joint 0, is the global orientation.
_BODY_FLIP = np.arange(21)
for _left, _right in SMPLX_FLIP_PAIRS:
    if max(_left, _right) <= 21:
        _BODY_FLIP[[_left - 1, _right - 1]] = _right - 1, _left - 1


@TRANSFORMS.register_module()
class LoadImageFromFile:
    """Adds ``img`` and its ``ori_shape`` (H, W)."""

    def __call__(self, results: dict) -> dict:
        image = read_bgr(results['img_path'])
        return dict(results, img=image, ori_shape=image.shape[:2])


@TRANSFORMS.register_module()
class BBoxCenterJitter:
    """Moves the crop by up to ``factor`` of its size in each direction, its centre staying in the image."""

    def __init__(self, factor: float = 0.0) -> None:
        self.factor = factor

    def __call__(self, results: dict) -> dict:
        if not self.factor:
            return results
        reach = self.factor * results['scale'][0]
        center = results['center'] + np.random.rand(2) * 2 * reach - reach
        height, width = results['img'].shape[:2]
        return dict(results, center=center.clip(0, (width, height)))


@TRANSFORMS.register_module()
class RandomHorizontalFlip:
    """Mirrors image, key points and rotations, each hand becoming the other.

    Expressions are not symmetric: a mirrored one is zero, and counts as missing.

    Raises:
        ValueError: right hands are to be mirrored, which makes them left ones.
    """

    def __init__(self, flip_prob: float = 0.5) -> None:
        self.flip_prob = flip_prob

    def __call__(self, results: dict) -> dict:
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
        flipped['keypoints3d'] = results['keypoints3d'][order] * np.float32((-1, 1, 1, 1))
        return _flip_parameters(flipped)


def _flip_parameters(results: dict) -> dict:
    mirror = np.float32((1, -1, -1))
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
    """Chooses size and in-plane rotation of the crop.

    Args:
        rot_factor: Standard deviation of the rotation in degrees, which is at most twice as much.
        scale_factor: Standard deviation of the size's factor, and the most by which it differs from 1.
        rot_prob: Share of the crops that are rotated.
    """

    def __init__(self, rot_factor: float = 30, scale_factor: float = 0.25, rot_prob: float = 0.6) -> None:
        self.rot_factor, self.scale_factor, self.rot_prob = rot_factor, scale_factor, rot_prob

    def __call__(self, results: dict) -> dict:
        spread, turn = self.scale_factor, self.rot_factor
        factor = np.clip(1 + spread * np.random.randn(), 1 - spread, 1 + spread)
        rotation = np.clip(turn * np.random.randn(), -2 * turn, 2 * turn)
        if np.random.rand() > self.rot_prob:
            rotation = 0.0
        return dict(results, scale=results['scale'] * factor, rotation=float(rotation))


@TRANSFORMS.register_module()
class MeshAffine:
    """Cuts the crop out, ``img_res`` pixels high and wide, black outside the image.

    By positive ``rotation`` the picture turns counter-clockwise; the 3D labels turn with it. ``crop_transform`` (2, 3)
    takes pixels of the image, as it is after a flip, to pixels of the crop.
    """

    def __init__(self, img_res: int) -> None:
        self.img_res = img_res

    def __call__(self, results: dict) -> dict:
        rotation = results.get('rotation', 0.0)
        matrix = crop_transform(results['center'], results['scale'][0], rotation, self.img_res)
        points = results['keypoints2d'].copy()
        seen = points[:, 2] > 0
        points[seen, :2] = points[seen, :2] @ matrix[:, :2].T + matrix[:, 2]
        image = cv2.warpAffine(results['img'], matrix, (self.img_res, self.img_res), flags=cv2.INTER_LINEAR)
        cropped = dict(results, img=image, crop_transform=matrix, keypoints2d=points, rotation=rotation)
        return _rotate(cropped, np.deg2rad(rotation)) if rotation else cropped


def crop_transform(center: np.ndarray, size: float, rotation: float, resolution: int) -> np.ndarray:
    """The affine map (2, 3) from an image to a crop, whose middle is at half its resolution.

    Args:
        center: Middle (2,) of the crop in the image, x and y.
        size: Side of the crop in the image, pixels.
        rotation: Degrees.
    """
    angle = np.deg2rad(rotation)
    up = size / 2 * np.array((np.sin(angle), -np.cos(angle)))
    # The middle, the middle of the upper edge, and the upper left corner, each from the one before as it is rounded.
    middle, edge = np.float32(center), np.float32(center + up)
    down = middle - edge
    source = np.stack((middle, edge, edge + (-down[1], down[0])))
    half = resolution / 2
    return cv2.getAffineTransform(source.astype(np.float32), np.float32(((half, half), (half, 0), (0, 0))))


def _rotate(results: dict, angle: float) -> dict:
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
    """Multiplies each channel by its own factor between 1 - ``noise_factor`` and 1 + ``noise_factor``."""

    def __init__(self, noise_factor: float = 0.4) -> None:
        self.noise_factor = noise_factor

    def __call__(self, results: dict) -> dict:
        factors = np.random.uniform(1 - self.noise_factor, 1 + self.noise_factor, 3)
        # The fourth is of a channel that is not there: OpenCV wants as many.
        return dict(results, img=cv2.multiply(results['img'], (*factors, 1.0)))


@TRANSFORMS.register_module()
class SimulateLowRes:
    """Shrinks the crop by one of the factors and enlarges it again, bilinearly both times.

    With fewer than two factors nothing is done.
    """

    def __init__(self, cat_factors: Sequence[float] = (1.0,)) -> None:
        self.cat_factors = cat_factors

    def __call__(self, results: dict) -> dict:
        if len(self.cat_factors) < 2:
            return results
        factor = self.cat_factors[np.random.randint(0, len(self.cat_factors))]
        height, width = results['img'].shape[:2]
        small = cv2.resize(results['img'], (int(width // factor), int(height // factor)))
        return dict(results, img=cv2.resize(small, (width, height)))


@TRANSFORMS.register_module()
class PackExPoseInputs:
    """Makes tensors of a sample: ``inputs`` uint8 (3, R, R), and ``data_samples`` with the labels as its fields."""

    def __call__(self, results: dict) -> dict:
        sample = BaseDataElement(metainfo={key: results[key] for key in META_KEYS if key in results})
        for name, value in results.items():
            if name.startswith('has_'):
                sample.set_field(torch.tensor([float(value)]), name)
            elif isinstance(value, np.ndarray) and name not in ('img', 'center', 'scale', *META_KEYS):
                sample.set_field(torch.from_numpy(value.astype(np.float32)), name)
        image = np.ascontiguousarray(results['img'].transpose(2, 0, 1))
        return dict(inputs=torch.from_numpy(image), data_samples=sample)
