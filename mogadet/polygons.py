"""COCO's two formats of a mask: polygons and run lengths."""

import cv2
import numpy as np

# Enlargement of a mask before its contours are traced, so that the contours follow the edges of pixels.
ZOOM = 4


def polygons(mask: np.ndarray) -> list[list[float]]:
    """Return the polygons of a mask, one per connected component.

    COCO's polygons have no holes. So each hole is joined to the polygon around it by a cut that is passed twice.

    Args:
        mask: Mask, (H, W) bool.

    Returns:
        Polygons [x, y, x, y, ...] in pixels. Components without area are left out.
    """
    enlarged = mask.astype(np.uint8).repeat(ZOOM, 0).repeat(ZOOM, 1)
    contours, hierarchy = cv2.findContours(enlarged, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    results = []
    for i, contour in enumerate(contours):
        polygon = _points(contour)
        if hierarchy[0][i][3] >= 0 or len(polygon) < 3:  # the contour of a hole has a parent
            continue
        holes = [_points(contours[j]) for j in range(len(contours)) if hierarchy[0][j][3] == i]
        for hole in holes:
            if len(hole) >= 3:
                polygon = _join(polygon, hole)
        results.append([float(value) for value in ((polygon + 0.5) / ZOOM).round(2).ravel()])
    return results


def _points(contour: np.ndarray) -> np.ndarray:
    """Return the corners of a contour, (N, 2)."""
    return cv2.approxPolyDP(contour, ZOOM / 2, True)[:, 0]


def _join(polygon: np.ndarray, hole: np.ndarray) -> np.ndarray:
    """Join a hole to a polygon by a cut between their closest corners, both (N, 2)."""
    distances = np.abs(polygon[:, None] - hole[None]).sum(-1)
    i, j = np.unravel_index(distances.argmin(), distances.shape)
    return np.concatenate([polygon[: i + 1], hole[j:], hole[: j + 1], polygon[i:]])


def run_lengths(mask: np.ndarray) -> dict:
    """Return COCO's uncompressed run-length encoding of a mask (H, W) bool.

    Runs go down the columns; the first run is of zeros.
    """
    flat = np.concatenate([[False], mask.T.ravel(), [False]])
    starts = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff([0, *starts, mask.size] if not len(starts) or starts[-1] != mask.size else [0, *starts])
    return dict(counts=counts.tolist(), size=list(mask.shape))
