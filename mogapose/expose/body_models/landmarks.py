"""Face landmarks: points that are fixed on the surface, and the contour, which moves over it as the head turns."""

import torch
from torch import Tensor

# Rows of the contour's table: 0 to 39 degrees to one side, then 1 to 39 degrees to the other.
MAX_DEGREES = 39


def surface_points(vertices: Tensor, triangles: Tensor, weights: Tensor) -> Tensor:
    """Return the points with given barycentric coordinates in triangles of a mesh.

    Args:
        vertices: (B, V, 3).
        triangles: (L, 3) or (B, L, 3) vertex numbers.
        weights: (L, 3) or (B, L, 3) barycentric coordinates in these triangles.

    Returns:
        Points (B, L, 3) in the unit of the vertices.
    """
    triangles = triangles.expand(len(vertices), -1, -1)
    samples = torch.arange(len(vertices), device=vertices.device)[:, None, None]
    return (vertices[samples, triangles] * weights[..., None]).sum(-2)


def contour_row(rotation: Tensor) -> Tensor:
    """Return the row (B,) of the contour's table for each head rotation (B, 3, 3).

    The row is the turn about y, rounded to whole degrees and limited to 39. Rows 0 to 39 are turns towards -y, rows 40
    to 78 turns of 1 to 39 degrees the other way.
    """
    turn = -torch.atan2(-rotation[:, 2, 0], rotation[:, :2, 0].norm(dim=-1))
    degrees = torch.rad2deg(turn).round().long().clamp(-MAX_DEGREES, MAX_DEGREES)
    return torch.where(degrees < 0, MAX_DEGREES - degrees, degrees)
