"""Pictures for people: skeletons and boxes on images."""

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
    """An RGB image with the skeletons on it; small images are enlarged.

    Args:
        image: RGB, (H, W, 3) uint8.
        instances: ``keypoints`` (N, K, 2) in pixels and ``keypoints_visible`` (N, K), their scores or 0 and 1;
            ``bboxes`` (N, 4) if any.
        meta: What mmpose knows of the keypoints: ``skeleton_links``, ``skeleton_link_colors``, ``keypoint_colors``.
        min_score: Keypoints of a lower score are left out, with what they are linked to.
        boxes: Draw the boxes too.
    """
    large, zoom = enlarge(image)
    visible = np.asarray(instances.keypoints_visible).reshape(instances.keypoints.shape[:2])
    # A pixel's coordinates are those of its centre.
    shown = InstanceData(keypoints=(instances.keypoints + 0.5) * zoom - 0.5, keypoints_visible=visible)
    if 'bboxes' in instances:
        shown.bboxes = instances.bboxes * zoom
    visualizer = PoseLocalVisualizer(line_width=2, radius=4)
    visualizer.set_dataset_meta(dict(meta))
    sample = PoseDataSample(pred_instances=shown)
    visualizer.add_datasample('', large, sample, draw_gt=False, draw_bbox=boxes, kpt_thr=min_score)
    return visualizer.get_image()
