"""Mean poses, from which the regressor starts: of a file, or of the body model."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..body_models.pickles import as_array, read_pickle
from .rotation import axis_angle_to_matrix, matrix_to_rot6d

# Buffers of the body models that hold a mean in axis-angle, by the pose it is of.
BODY_MODEL_MEANS = dict(
    right_hand_pose=('hands_mean', 'right_hand_mean'),
    left_hand_pose=('left_hand_mean',),
)


def means_of_body_model(body_model: nn.Module) -> dict[str, Tensor]:
    """Mean poses (N, 6) that a body model's own file has: those of its hands."""
    found = {}
    for name, buffers in BODY_MODEL_MEANS.items():
        for buffer in buffers:
            if hasattr(body_model, buffer):
                found[name] = matrix_to_rot6d(axis_angle_to_matrix(getattr(body_model, buffer)))
    return found


def read_mean_poses(path: str | Path, joints: dict[str, int]) -> dict[str, Tensor]:
    """Mean poses (N, 6) of ``all_means.pkl`` of ExPose, which has ``cont_rot_repr`` for each pose.

    Args:
        path: The file; it is read as data, nothing in it runs.
        joints: The poses that are wanted, with their numbers of joints N.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no such file, or has other numbers of joints.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'mean_pose_path: {path} does not exist; without it the means of the body model are taken'
        )
    content = read_pickle(path)
    found = {}
    for name, count in joints.items():
        entry = content.get(name)
        if not isinstance(entry, dict) or 'cont_rot_repr' not in entry:
            raise ValueError(f"{path}: has no ['{name}']['cont_rot_repr'], the mean of that pose in 6D")
        found[name] = _numbers(as_array(entry['cont_rot_repr']), (count, 6), f"{path}: ['{name}']['cont_rot_repr']")
    return found


def read_mean_shape(path: str | Path, count: int) -> Tensor:
    """The first ``count`` betas of a ``.npy`` with a mean shape.

    Raises:
        FileNotFoundError, ValueError: no such file, or no such array in it.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'shape_mean_path: {path} does not exist; without it the mean shape is zero')
    try:
        betas = np.load(path, allow_pickle=False).reshape(-1)
    except (ValueError, EOFError) as error:
        raise ValueError(f'{path}: not a readable .npy ({error})') from None
    return _numbers(betas[:count], (count,), str(path))


def _numbers(array: np.ndarray, shape: Iterable[int], where: str) -> Tensor:
    if array.shape != tuple(shape) or array.dtype.kind != 'f' or not np.isfinite(array).all():
        raise ValueError(f'{where} is {array.dtype} of shape {array.shape}: expected finite numbers of shape {shape}')
    return torch.from_numpy(array.astype(np.float32))
