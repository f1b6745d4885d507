"""COCO's ways to write a mask: polygons and run lengths."""

import cv2
import numpy as np

# Outlines are traced on a mask enlarged this much, so that they run along the edges of pixels, not through them.
ZOOM = 4


def polygons(mask: np.ndarray) -> list[list[float]]:
    """Outlines [x, y, x, y, ...] of the parts of a mask (H, W) bool, in pixels; parts of no area are left out.

    COCO's polygons have no holes: each is joined to the outline around it by a cut, run through there and back.
    """
    enlarged = mask.astype(np.uint8).repeat(ZOOM, 0).repeat(ZOOM, 1)
    contours, tree = cv2.findContours(enlarged, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    found = []
    for i, contour in enumerate(contours):
        outline = _points(contour)
        if tree[0][i][3] >= 0 or len(outline) < 3:
            continue
        holes = [_points(contours[j]) for j in range(len(contours)) if tree[0][j][3] == i]
        for hole in holes:
            if len(hole) >= 3:
                outline = _join(outline, hole)
        found.append([float(value) for value in ((outline + 0.5) / ZOOM).round(2).ravel()])
    return found


def _points(contour: np.ndarray) -> np.ndarray:
    return cv2.approxPolyDP(contour, ZOOM / 2, True)[:, 0]


def _join(outline: np.ndarray, hole: np.ndarray) -> np.ndarray:
    distances = np.abs(outline[:, None] - hole[None]).sum(-1)
    i, j = np.unravel_index(distances.argmin(), distances.shape)
    return np.concatenate([outline[: i + 1], hole[j:], hole[: j + 1], outline[i:]])


def run_lengths(mask: np.ndarray) -> dict:
    """COCO's uncompressed RLE of a mask (H, W) bool: lengths of runs down the columns, the first one of zeros."""
    flat = np.concatenate([[False], mask.T.ravel(), [False]])
    starts = np.flatnonzero(flat[1:] != flat[:-1])
    counts = np.diff([0, *starts, mask.size] if not len(starts) or starts[-1] != mask.size else [0, *starts])
    return dict(counts=counts.tolist(), size=list(mask.shape))
