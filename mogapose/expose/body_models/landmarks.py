"""Face landmarks: points fixed on the surface, and the contour, which wanders over it as the head turns."""

import torch
from torch import Tensor

# Rows of the contour's table: 0 to 39 degrees to one side, then 1 to 39 degrees to the other.
MAX_DEGREES = 39


def surface_points(vertices: Tensor, triangles: Tensor, weights: Tensor) -> Tensor:
    """Points (B, L, 3) of barycentric ``weights`` in ``triangles`` of vertex numbers, both (L, 3) or (B, L, 3)."""
    triangles = triangles.expand(len(vertices), -1, -1)
    samples = torch.arange(len(vertices), device=vertices.device)[:, None, None]
    return (vertices[samples, triangles] * weights[..., None]).sum(-2)


def contour_row(rotation: Tensor) -> Tensor:
    """Row (B,) of the contour's table for head rotations (B, 3, 3): the turn about y in whole degrees.

    0 to 39 are a turn towards -y and stop there; 40 to 78 are 1 to 39 degrees the other way.
    """
    turn = -torch.atan2(-rotation[:, 2, 0], rotation[:, :2, 0].norm(dim=-1))
    degrees = torch.rad2deg(turn).round().long().clamp(-MAX_DEGREES, MAX_DEGREES)
    return torch.where(degrees < 0, MAX_DEGREES - degrees, degrees)
