"""Distances from points to the surface of a mesh: exact, in a few seconds for ten thousand points and triangles."""

import torch
from torch import Tensor

# Pairs of a point and a triangle that are looked at together: bounds the memory to some hundred megabytes.
PAIRS = 1 << 20
# Makes up for rounding in the bound: what is this close to it, relatively, is measured too.
SLACK = 1e-9
# A triangle lower than this share of its longest edge is as good as its edges, and has no normal worth the name.
FLAT = 1e-10


def surface_distances(points: Tensor, vertices: Tensor, faces: Tensor) -> Tensor:
    """Distance of each point to the closest point on any triangle, in float64.

    Args:
        points: (N, 3).
        vertices: (V, 3), in the same unit.
        faces: (F, 3) vertex numbers. Neither their orientation nor holes in the mesh matter.

    Returns:
        (N,) distances, 0 or more.

    Raises:
        ValueError: other shapes, no triangles, vertex numbers out of range, NaN or infinite coordinates.
    """
    _check(points, vertices, faces)
    corners = vertices.double()[faces.long()]
    origin = corners.mean((0, 1))
    corners, points = corners - origin, points.double() - origin
    chunks = points.split(max(1, PAIRS // len(faces)))
    centres = corners.mean(1)
    radii = (corners - centres[:, None]).norm(dim=-1).amax(1)
    return torch.cat([_nearest(chunk, corners, centres, radii) for chunk in chunks])


def _nearest(points: Tensor, corners: Tensor, centres: Tensor, radii: Tensor) -> Tensor:
    """Measures only triangles that can be the nearest.

    A triangle lies in the sphere around its centre c that touches its farthest corner, at radius r: nothing of it is
    closer to p than |p - c| - r. If that is more than the distance to another triangle, it is not the nearest.
    """
    to_centre = torch.cdist(points, centres, compute_mode='donot_use_mm_for_euclid_dist')
    bound = triangle_distances(points, corners[to_centre.argmin(1)])
    reach = (bound[:, None] + radii) * (1 + SLACK)
    point, triangle = (to_centre <= reach).nonzero(as_tuple=True)
    return bound.scatter_reduce(0, point, triangle_distances(points[point], corners[triangle]), 'amin')


def triangle_distances(points: Tensor, corners: Tensor) -> Tensor:
    """Distances (N,) of points (N, 3) to a triangle each, with corners (N, 3, 3); a triangle may be a line or a point.

    Where the point's foot in the plane lies inside the triangle it is the height, else the least of three distances to
    edges.
    """
    edges = corners.roll(-1, 1) - corners
    offsets = points[:, None] - corners
    squares = edges.square().sum(-1)
    tiny = torch.finfo(squares.dtype).tiny
    along = ((offsets * edges).sum(-1) / squares.clamp(min=tiny)).clamp(0, 1)
    to_edges = (offsets - along[..., None] * edges).square().sum(-1).amin(1)
    normal = torch.linalg.cross(edges[:, 0], edges[:, 1])
    area = normal.square().sum(-1)
    inwards = torch.linalg.cross(normal[:, None].expand_as(edges), edges)
    inside = ((inwards * offsets).sum(-1) >= 0).all(1) & (area > (FLAT * squares.amax(1)).square())
    height = (normal * offsets[:, 0]).sum(-1).square() / area.clamp(min=tiny)
    return torch.where(inside, height, to_edges).sqrt()


def _check(points: Tensor, vertices: Tensor, faces: Tensor) -> None:
    for name, array in (('points', points), ('vertices', vertices), ('faces', faces)):
        if array.dim() != 2 or array.shape[1] != 3 or not len(array):
            raise ValueError(f'{name} of shape {tuple(array.shape)}: expected (N, 3) with at least one row')
    if faces.is_floating_point() or faces.min() < 0 or faces.max() >= len(vertices):
        low, high = faces.min().item(), faces.max().item()
        raise ValueError(f'faces hold {low} to {high}: expected whole numbers of {len(vertices)} vertices, from 0')
    if not (torch.isfinite(points).all() and torch.isfinite(vertices).all()):
        raise ValueError('points or vertices hold NaN or infinite coordinates')
