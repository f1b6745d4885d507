"""Exact distances from points to the surface of a mesh, in a few seconds for ten thousand points and triangles."""

import torch
from torch import Tensor

# Pairs of a point and a triangle that are examined at once. They need some hundred megabytes.
PAIRS = 1 << 20
# Relative margin of the bound, against rounding: triangles within it are measured too.
MARGIN = 1e-9
# A triangle lower than this share of its longest edge counts as flat: its normal is inaccurate, and its edges suffice.
FLAT = 1e-10


def surface_distances(points: Tensor, vertices: Tensor, faces: Tensor) -> Tensor:
    """Compute the distance of each point to the closest point on any triangle, in float64.

    Args:
        points: (N, 3).
        vertices: (V, 3), in the same unit.
        faces: (F, 3) vertex numbers. Neither their orientation nor holes in the mesh matter.

    Returns:
        (N,) distances, 0 or more, in the unit of the points.

    Raises:
        ValueError: A shape is another, there are no triangles, a vertex number is out of range, or a coordinate is NaN
            or infinite.
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
    """Return the distances (N,) of points (N, 3), measuring only triangles that can be the nearest.

    A triangle lies in the sphere around its centre c through its farthest corner, with radius r. No point of it is
    closer to p than |p - c| - r. If that exceeds the distance to another triangle, this one is not the nearest.
    """
    to_centre = torch.cdist(points, centres, compute_mode='donot_use_mm_for_euclid_dist')
    bound = triangle_distances(points, corners[to_centre.argmin(1)])
    reach = (bound[:, None] + radii) * (1 + MARGIN)
    point, triangle = (to_centre <= reach).nonzero(as_tuple=True)
    return bound.scatter_reduce(0, point, triangle_distances(points[point], corners[triangle]), 'amin')


def triangle_distances(points: Tensor, corners: Tensor) -> Tensor:
    """Compute the distance of each point to its own triangle.

    If the foot of the perpendicular lies inside the triangle, the distance is the height. Otherwise it is the smallest
    of the distances to the three edges.

    Args:
        points: (N, 3).
        corners: (N, 3, 3), the corners of each point's triangle, which may degenerate to a line or a point.

    Returns:
        (N,) distances in the unit of the points.
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
