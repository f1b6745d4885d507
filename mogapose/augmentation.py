"""Random shifts, scales and rotations of persons' boxes as in mmpose 0, which the released runs used.

mmpose 1 draws all three in one step, ``RandomBBoxTransform``, from normal distributions that are truncated to the same
ranges. The table compares them. The distance is Kolmogorov's, the largest difference of the distribution functions.

=========  =======================================  ==============================  ============
           here, as mmpose 0                        RandomBBoxTransform             distance
=========  =======================================  ==============================  ============
scale      deviation 0.359; 16 % at either end      deviation 0.270; none there     0.159
rotation   deviation 38.4 deg; 2.3 % at either end  deviation 43.2 deg; none there  0.061
shift      uniform, deviation 0.092                 deviation 0.086                 0.031
=========  =======================================  ==============================  ============

The order differs too. mmpose 1 shifts last, by a share of the annotated box. mmpose 0 shifted first, by a share of the
box with the input's aspect ratio. The half-body transform then centred the box on its joints and undid the shift.
"""

import numpy as np
from mmcv.transforms import BaseTransform
from mmpose.datasets.transforms import TopdownAffine
from mmpose.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ShiftBBox(BaseTransform):
    """Shifts a box by a uniform share of its width and height. Use it after ``GetBBoxCenterScale``.

    Args:
        input_size: (width, height) of the network's input in pixels. Shares refer to the box with this aspect ratio.
        factor: Largest shift, as a share of the box with its padding.
        prob: Probability of a shift.
    """

    def __init__(self, input_size: tuple[int, int], factor: float = 0.16, prob: float = 0.3) -> None:
        self.input_size, self.factor, self.prob = input_size, factor, prob

    def transform(self, results: dict) -> dict:
        """Change ``bbox_center`` (N, 2) and return the sample."""
        width, height = self.input_size
        size = TopdownAffine._fix_aspect_ratio(results['bbox_scale'], aspect_ratio=width / height)
        shift = np.random.uniform(-self.factor, self.factor, size.shape) * size
        shift[np.random.rand(len(size)) >= self.prob] = 0
        results['bbox_center'] = (results['bbox_center'] + shift).astype(np.float32)
        return results


@TRANSFORMS.register_module()
class ScaleRotateBBox(BaseTransform):
    """Resizes and rotates a box by clipped normal factors, so that the ends of both ranges are drawn often.

    Args:
        scale: Standard deviation of the factor around 1. It is clipped at ``1 - scale`` and ``1 + scale``.
        rotation: Standard deviation of the angle in degrees. It is clipped at twice that.
        rotate_prob: Probability of a rotation. The box is always resized.
    """

    def __init__(self, scale: float = 0.5, rotation: float = 40.0, rotate_prob: float = 0.6) -> None:
        self.scale, self.rotation, self.rotate_prob = scale, rotation, rotate_prob

    def transform(self, results: dict) -> dict:
        """Change ``bbox_scale`` (N, 2), set ``bbox_rotation`` (N,) in degrees, and return the sample."""
        number = len(results['bbox_scale'])
        factor = 1 + self.scale * np.clip(np.random.randn(number, 1), -1, 1)
        angle = self.rotation * np.clip(np.random.randn(number), -2, 2)
        angle[np.random.rand(number) >= self.rotate_prob] = 0
        results['bbox_scale'] = (results['bbox_scale'] * factor).astype(np.float32)
        results['bbox_rotation'] = angle.astype(np.float32)
        return results
