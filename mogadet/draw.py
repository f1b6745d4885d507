"""Figures of detection: boxes, masks, classes and scores on images."""

import warnings
from collections.abc import Sequence

import cv2
import numpy as np
from mmdet.structures import DetDataSample
from mmdet.visualization import DetLocalVisualizer
from mmengine.structures import InstanceData

from moganet.io.images import enlarge

MIN_SCORE = 0.5


def draw_instances(
    image: np.ndarray,
    instances: InstanceData,
    classes: Sequence[str],
    min_score: float = MIN_SCORE,
) -> np.ndarray:
    """Draw instances on an image. Small images are enlarged.

    Args:
        image: RGB image, (H, W, 3) uint8.
        instances: ``bboxes`` (N, 4) as x1, y1, x2, y2 in pixels and ``labels`` (N,); optional ``scores`` (N,) and
            ``masks`` (N, H, W).
        classes: Names of the labels.
        min_score: Instances of a lower score are not drawn.

    Returns:
        RGB image, (zoom * H, zoom * W, 3) uint8.
    """
    visible = instances.cpu()
    if 'scores' in visible:
        visible = visible[visible.scores >= min_score]
    large, zoom = enlarge(image)
    shown = InstanceData(bboxes=visible.bboxes * zoom, labels=visible.labels)
    if 'scores' in visible:
        shown.scores = visible.scores
    if 'masks' in visible:
        height, width = large.shape[:2]
        masks = [cv2.resize(np.asarray(mask, np.uint8), (width, height)) for mask in visible.masks]
        shown.masks = np.array(masks, bool).reshape(-1, height, width)
    visualizer = DetLocalVisualizer(line_width=2, alpha=0.5)
    visualizer.dataset_meta = dict(classes=tuple(classes))
    with warnings.catch_warnings():
        # The contours drawn end half a pixel beyond the image, so MMEngine warns.
        warnings.filterwarnings('ignore', message='.*out of bounds', category=UserWarning)
        visualizer.add_datasample('', large, DetDataSample(pred_instances=shown), draw_gt=False, pred_score_thr=0.0)
    return visualizer.get_image()
