"""Pictures for people: boxes, masks, classes and scores on images."""

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
    large, zoom = enlarge(image)
    shown = InstanceData(bboxes=kept.bboxes * zoom, labels=kept.labels)
    if 'scores' in kept:
        shown.scores = kept.scores
    if 'masks' in kept:
        height, width = large.shape[:2]
        masks = [cv2.resize(np.asarray(mask, np.uint8), (width, height)) for mask in kept.masks]
        shown.masks = np.array(masks, bool).reshape(-1, height, width)
    visualizer = DetLocalVisualizer(line_width=2, alpha=0.5)
    visualizer.dataset_meta = dict(classes=tuple(classes))
    with warnings.catch_warnings():
        # Outlines end half a pixel beyond the image, which is worth a warning to MMEngine.
        warnings.filterwarnings('ignore', message='.*out of bounds', category=UserWarning)
        visualizer.add_datasample('', large, DetDataSample(pred_instances=shown), draw_gt=False, pred_score_thr=0.0)
    return visualizer.get_image()
