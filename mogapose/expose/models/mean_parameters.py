"""Mean poses and mean shape, from which the regressor starts: read from a file or taken from the body model."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..body_models.pickles import as_array, read_pickle
from .rotation import axis_angle_to_matrix, matrix_to_rot6d

# For each pose the buffers of body models that hold its mean in axis-angle.
BODY_MODEL_MEANS = dict(
    right_hand_pose=('hands_mean', 'right_hand_mean'),
    left_hand_pose=('left_hand_mean',),
)


def means_of_body_model(body_model: nn.Module) -> dict[str, Tensor]:
    """Return the mean hand poses that a body model's own file has.

    Args:
        body_model: A layer of ``mogapose.expose.body_models.layers``.

    Returns:
        For each pose with a mean a tensor (N, 6) in the 6D representation, N joints.
    """
    means = {}
    for name, buffers in BODY_MODEL_MEANS.items():
        for buffer in buffers:
            if hasattr(body_model, buffer):
                means[name] = matrix_to_rot6d(axis_angle_to_matrix(getattr(body_model, buffer)))
    return means


def read_mean_poses(path: str | Path, joints: dict[str, int]) -> dict[str, Tensor]:
    """Read mean poses from ExPose's ``all_means.pkl``, which has ``cont_rot_repr`` for each pose.

    Args:
        path: The file. It is read as data; no code in it runs.
        joints: The poses to read, each with its number of joints N.

    Returns:
        For each pose a tensor (N, 6) in the 6D representation.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file lacks a pose, or a pose has another number of joints.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f'mean_pose_path: {path} does not exist; without it the means of the body model are taken'
        )
    content = read_pickle(path)
    means = {}
    for name, count in joints.items():
        entry = content.get(name)
        if not isinstance(entry, dict) or 'cont_rot_repr' not in entry:
            raise ValueError(f"{path}: has no ['{name}']['cont_rot_repr'], the mean of that pose in 6D")
        means[name] = _checked(as_array(entry['cont_rot_repr']), (count, 6), f"{path}: ['{name}']['cont_rot_repr']")
    return means


def read_mean_shape(path: str | Path, count: int) -> Tensor:
    """Read the first ``count`` betas of a ``.npy`` file with a mean shape.

    Args:
        path: The file.
        count: Number of betas to read.

    Returns:
        A tensor (count,).

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file is no ``.npy``, or holds fewer numbers or other values than finite floats.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f'shape_mean_path: {path} does not exist; without it the mean shape is zero')
    try:
        betas = np.load(path, allow_pickle=False).reshape(-1)
    except (ValueError, EOFError) as error:
        raise ValueError(f'{path}: not a readable .npy ({error})') from None
    return _checked(betas[:count], (count,), str(path))


def _checked(array: np.ndarray, shape: Iterable[int], where: str) -> Tensor:
    if array.shape != tuple(shape) or array.dtype.kind != 'f' or not np.isfinite(array).all():
        raise ValueError(f'{where} is {array.dtype} of shape {array.shape}: expected finite numbers of shape {shape}')
    return torch.from_numpy(array.astype(np.float32))
