"""How the released runs moved, resized and turned the boxes of persons: mmpose 0's laws, which mmpose 1 changed.

mmpose 1 draws all three in one step, ``RandomBBoxTransform``, from normals that are cut off at the ends of the same
ranges. What that would change (distance: Kolmogorov's, the largest difference of the two distribution functions):

=========  =======================================  ==============================  ============
           here, as mmpose 0                        RandomBBoxTransform             distance
=========  =======================================  ==============================  ============
scale      deviation 0.359; 16 % at either end      deviation 0.270; none there     0.159
rotation   deviation 38.4 deg; 2.3 % at either end  deviation 43.2 deg; none there  0.061
shift      uniform, deviation 0.092                 deviation 0.086                 0.031
=========  =======================================  ==============================  ============

mmpose 1 also shifts last, in parts of the box as annotated; mmpose 0 shifted first, in parts of the box after it was
given the input's aspect ratio, and a half body is centred on its joints, so that its box lost the shift again.
"""

import numpy as np
from mmcv.transforms import BaseTransform
from mmpose.datasets.transforms import TopdownAffine
from mmpose.registry import TRANSFORMS


@TRANSFORMS.register_module()
class ShiftBBox(BaseTransform):
    """Shifts a box by a uniform part of its width and height, to be used after ``GetBBoxCenterScale``.

    Args:
        input_size: (width, height) of the network's input in pixels; the box is given its aspect ratio first.
        factor: Largest shift, a part of the box with its padding.
        prob: How often a box is shifted.
    """

    def __init__(self, input_size: tuple[int, int], factor: float = 0.16, prob: float = 0.3) -> None:
        self.input_size, self.factor, self.prob = input_size, factor, prob

    def transform(self, results: dict) -> dict:
        width, height = self.input_size
        size = TopdownAffine._fix_aspect_ratio(results['bbox_scale'], aspect_ratio=width / height)
        shift = np.random.uniform(-self.factor, self.factor, size.shape) * size
        shift[np.random.rand(len(size)) >= self.prob] = 0
        results['bbox_center'] = (results['bbox_center'] + shift).astype(np.float32)
        return results


@TRANSFORMS.register_module()
class ScaleRotateBBox(BaseTransform):
    """Resizes and turns a box by clipped normal factors; the ends of both ranges have a probability of their own.

    Args:
        scale: Deviation of the factor around 1, which is clipped at ``1 - scale`` and ``1 + scale``.
        rotation: Deviation of the angle in degrees, which is clipped at twice that.
        rotate_prob: How often a box is turned. It is always resized.
    """

    def __init__(self, scale: float = 0.5, rotation: float = 40.0, rotate_prob: float = 0.6) -> None:
        self.scale, self.rotation, self.rotate_prob = scale, rotation, rotate_prob

    def transform(self, results: dict) -> dict:
        number = len(results['bbox_scale'])
        factor = 1 + self.scale * np.clip(np.random.randn(number, 1), -1, 1)
        angle = self.rotation * np.clip(np.random.randn(number), -2, 2)
        angle[np.random.rand(number) >= self.rotate_prob] = 0
        results['bbox_scale'] = (results['bbox_scale'] * factor).astype(np.float32)
        results['bbox_rotation'] = angle.astype(np.float32)
        return results
