"""Pictures of predictions: skeletons and boxes on images."""

from collections.abc import Mapping

import numpy as np
from mmengine.structures import InstanceData
from mmpose.structures import PoseDataSample
from mmpose.visualization import PoseLocalVisualizer

from moganet.io.images import enlarge

MIN_SCORE = 0.3


def draw_skeletons(
    image: np.ndarray,
    instances: InstanceData,
    meta: Mapping,
    min_score: float = MIN_SCORE,
    boxes: bool = True,
) -> np.ndarray:
    """Draw skeletons on an image. Small images are enlarged.

    Args:
        image: (H, W, 3) uint8, RGB.
        instances: ``keypoints`` (N, K, 2) in pixels and ``keypoints_visible`` (N, K), scores or 0 and 1; optionally
            ``bboxes`` (N, 4).
        meta: mmpose's description of the keypoints: ``skeleton_links``, ``skeleton_link_colors``, ``keypoint_colors``.
        min_score: Keypoints of a lower score are not drawn, nor are their links.
        boxes: Draw the boxes too.

    Returns:
        The picture (H', W', 3) uint8, RGB.
    """
    large, zoom = enlarge(image)
    visible = np.asarray(instances.keypoints_visible).reshape(instances.keypoints.shape[:2])
    # Integer coordinates are those of a pixel's centre.
    shown = InstanceData(keypoints=(instances.keypoints + 0.5) * zoom - 0.5, keypoints_visible=visible)
    if 'bboxes' in instances:
        shown.bboxes = instances.bboxes * zoom
    visualizer = PoseLocalVisualizer(line_width=2, radius=4)
    visualizer.set_dataset_meta(dict(meta))
    sample = PoseDataSample(pred_instances=shown)
    visualizer.add_datasample('', large, sample, draw_gt=False, draw_bbox=boxes, kpt_thr=min_score)
    return visualizer.get_image()
