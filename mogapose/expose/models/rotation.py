"""Rotations, the weak perspective camera and similarity alignment, batched.

The 6D representation is that of Zhou et al., CVPR 2019. Its six numbers are the first two columns of the matrix, row
by row.
"""

import torch
import torch.nn.functional as F
from torch import Tensor


def rot6d_to_matrix(rot6d: Tensor) -> Tensor:
    """Return the rotation matrices (..., 3, 3) of 6D vectors (..., 6), orthonormalised by Gram-Schmidt."""
    columns = rot6d.reshape(*rot6d.shape[:-1], 3, 2)
    first = F.normalize(columns[..., 0], dim=-1)
    second = columns[..., 1]
    second = F.normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack((first, second, torch.linalg.cross(first, second)), -1)


def matrix_to_rot6d(matrix: Tensor) -> Tensor:
    """Return the 6D vectors (..., 6) of rotation matrices (..., 3, 3)."""
    return matrix[..., :2].flatten(-2)


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Return the rotation matrices (..., 3, 3) of axis-angle vectors (..., 3) in radians (Rodrigues' formula).

    The result is differentiable at zero.
    """
    square = axis_angle.square().sum(-1)[..., None, None]
    small = square < 1e-8
    safe = torch.where(small, torch.ones_like(square), square)
    angle = safe.sqrt()
    # Below 1e-4 rad the next terms of the series vanish in float64, and the gradients of the quotients would be 0 / 0.
    sine = torch.where(small, 1 - square / 6, angle.sin() / angle)
    versine = torch.where(small, 0.5 - square / 24, (1 - angle.cos()) / safe)
    cross = _cross_matrix(axis_angle)
    return torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device) + sine * cross + versine * (cross @ cross)


def _cross_matrix(vector: Tensor) -> Tensor:
    x, y, z = vector.unbind(-1)
    zero = torch.zeros_like(x)
    return torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).reshape(*vector.shape[:-1], 3, 3)


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Return the axis-angle vectors (..., 3), at most pi radians long, of rotation matrices (..., 3, 3)."""
    r = matrix
    diagonal = r.diagonal(dim1=-2, dim2=-1)
    trace = diagonal.sum(-1)
    wx, wy, wz = r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]
    xy, xz, yz = r[..., 0, 1] + r[..., 1, 0], r[..., 0, 2] + r[..., 2, 0], r[..., 1, 2] + r[..., 2, 1]
    xx, yy, zz = (1 + 2 * diagonal - trace[..., None]).unbind(-1)
    # Row i is 4 q_i (w, x, y, z) of the quaternion q. The row of the largest q_i is accurate at every angle.
    rows = torch.stack((1 + trace, wx, wy, wz, wx, xx, xy, xz, wy, xy, yy, yz, wz, xz, yz, zz), -1).unflatten(
        -1, (4, 4)
    )
    largest = rows.diagonal(dim1=-2, dim2=-1).argmax(-1)[..., None, None]
    quaternion = F.normalize(torch.take_along_dim(rows, largest, -2).squeeze(-2), dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    real, imaginary = quaternion[..., :1], quaternion[..., 1:]
    length = imaginary.norm(dim=-1, keepdim=True)
    small = length < 1e-6
    half_angle = torch.atan2(length, real)
    return imaginary * torch.where(small, 2 / real.clamp(min=0.5), 2 * half_angle / length.clamp(min=1e-6))


def weak_perspective(points: Tensor, camera: Tensor) -> Tensor:
    """Project points to the crop.

    Args:
        points: (B, N, 3) in metres, x to the right and y down.
        camera: (B, 3), the positive scale and the translation that is added to x and y before scaling.

    Returns:
        Crop coordinates (B, N, 2), -1 to 1 from border to border, x to the right and y down.
    """
    return camera[:, None, :1] * (points[..., :2] + camera[:, None, 1:])


def similarity_transform(source: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Compute the similarity transform from ``source`` to ``target`` with the least sum of squares (Procrustes).

    It is computed in float64. Reflections are not allowed, unlike in FreiHAND's script: a mirrored hand stays wrong.
    If all source points are equal, they move to the target's mean.

    Args:
        source: Points (..., N, 3).
        target: Points (..., N, 3) in any unit.

    Returns:
        Scale (...), rotation (..., 3, 3) and translation (..., 3), for ``apply_similarity``.

    Raises:
        ValueError: A coordinate is NaN or infinite.
    """
    x, y = source.double(), target.double()
    if not (torch.isfinite(x).all() and torch.isfinite(y).all()):
        raise ValueError('points to be aligned hold NaN or infinite coordinates')
    mean_x, mean_y = x.mean(-2, keepdim=True), y.mean(-2, keepdim=True)
    x, y = x - mean_x, y - mean_y
    covariance = x.mT @ y
    u, _, vh = torch.linalg.svd(covariance)
    sign = torch.ones_like(u[..., 0])
    sign[..., 2] = torch.linalg.det(u @ vh).sign()
    rotation = vh.mT @ (sign[..., None] * u.mT)
    numerator = (rotation * covariance.mT).sum((-2, -1))
    scale = numerator / x.square().sum((-2, -1)).clamp(min=1e-30)
    translation = mean_y - scale[..., None, None] * (mean_x @ rotation.mT)
    return scale, rotation, translation.squeeze(-2)


def apply_similarity(points: Tensor, scale: Tensor, rotation: Tensor, translation: Tensor) -> Tensor:
    """Rotate, scale and move ``points`` (..., N, 3) in float64; the arguments are those of ``similarity_transform``."""
    return scale[..., None, None] * (points.double() @ rotation.mT) + translation[..., None, :]


def similarity_align(source: Tensor, target: Tensor) -> Tensor:
    """Move ``source`` (..., N, 3) onto ``target`` by their similarity transform; the dtype stays that of ``source``.

    Raises:
        ValueError: A coordinate is NaN or infinite.
    """
    return apply_similarity(source, *similarity_transform(source, target)).to(source.dtype)
