"""Pictures for people: boxes, masks, classes and scores on images."""

import warnings
from collections.abc import Sequence
from pathlib import Path

import cv2
import mmcv
import numpy as np
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData

from moganet.images import require_readable

# Labels cannot be read on smaller pictures.
MIN_LONG_EDGE = 640
MIN_SCORE = 0.5


def read_image(path: str | Path) -> np.ndarray:
    """An image file as RGB, (H, W, 3).

    Raises:
        ValueError: it cannot be decoded; the message names it.
    """
    require_readable(path)
    return mmcv.imread(str(path), channel_order='rgb')


def draw_instances(
    image: np.ndarray,
    instances: InstanceData,
    classes: Sequence[str],
    min_score: float = MIN_SCORE,
) -> np.ndarray:
    """An RGB image with the instances on it; small images are enlarged.

    Args:
        image: RGB, (H, W, 3) uint8.
        instances: ``bboxes`` (N, 4) in pixels and ``labels`` (N,); ``scores`` (N,) and ``masks`` (N, H, W) if any.
        classes: Names of the labels.
        min_score: Instances of a lower score are left out.
    """
    kept = instances.cpu()
    if 'scores' in kept:
        kept = kept[kept.scores >= min_score]
    zoom = max(1.0, MIN_LONG_EDGE / max(image.shape[:2]))
    size = round(image.shape[1] * zoom), round(image.shape[0] * zoom)
    shown = InstanceData(bboxes=kept.bboxes * zoom, labels=kept.labels)
    if 'scores' in kept:
        shown.scores = kept.scores
    if 'masks' in kept:
        masks = [cv2.resize(np.asarray(mask, np.uint8), size, interpolation=cv2.INTER_LINEAR) for mask in kept.masks]
        shown.masks = np.array(masks, bool).reshape(-1, size[1], size[0])
    visualizer = DetLocalVisualizer(line_width=2, alpha=0.5)
    visualizer.dataset_meta = dict(classes=tuple(classes))
    large = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    with warnings.catch_warnings():
        # Outlines end half a pixel beyond the image, which is worth a warning to MMEngine.
        warnings.filterwarnings('ignore', message='.*out of bounds', category=UserWarning)
        visualizer.add_datasample('', large, DetDataSample(pred_instances=shown), draw_gt=False, pred_score_thr=0.0)
    return visualizer.get_image()


def draw_grid(pictures: Sequence[np.ndarray], path: str | Path, columns: int = 4, cell: int = MIN_LONG_EDGE) -> Path:
    """Write RGB pictures in rows, each centred in a white square of ``cell`` pixels."""
    rows = -(-len(pictures) // columns)
    grid = np.full((rows * cell, columns * cell, 3), 255, np.uint8)
    for i, picture in enumerate(pictures):
        zoom = cell / max(picture.shape[:2])
        picture = cv2.resize(picture, (round(picture.shape[1] * zoom), round(picture.shape[0] * zoom)))
        height, width = picture.shape[:2]
        top = i // columns * cell + (cell - height) // 2
        left = i % columns * cell + (cell - width) // 2
        grid[top : top + height, left : left + width] = picture
    return write_image(grid, path)


def write_image(picture: np.ndarray, path: str | Path) -> Path:
    """Write an RGB picture, making its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    mmcv.imwrite(picture[..., ::-1], str(path))
    return path
