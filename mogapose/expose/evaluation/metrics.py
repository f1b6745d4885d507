"""Metrics of hands and faces, in millimetres. Each sample is reduced to a few numbers as soon as it is predicted."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from torch import Tensor

from ..models.conventions import FACE3D_IN_FLAME
from ..models.rotation import apply_similarity, similarity_align, similarity_transform
from ..registry import METRICS
from .surface import surface_distances

MILLIMETRES = 1000  # in a metre
# Of FreiHAND's F-scores, in millimetres.
THRESHOLDS = (5, 15)
MODES = ('mean', 'rms')
# Rows of the seven landmarks.
EYE_RIGHT_OUTER, EYE_RIGHT_INNER, EYE_LEFT_INNER, EYE_LEFT_OUTER, NOSE = range(5)


def f_score(prediction: Tensor, target: Tensor, threshold: float) -> float:
    """Return the harmonic mean of precision and recall of predicted points.

    Precision is the share of predictions with a target closer than ``threshold``, recall the share of targets with a
    prediction closer than that. Both sets are points, not surfaces.

    Args:
        prediction: (M, 3).
        target: (N, 3).
        threshold: In the unit of the points.

    Returns:
        0 to 1; 0 if no point is close to one of the other set.
    """
    distances = torch.cdist(prediction.double(), target.double(), compute_mode='donot_use_mm_for_euclid_dist')
    precision, recall = ((distances.amin(side) < threshold).double().mean().item() for side in (0, 1))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def face_region(landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """Compute the sphere around a face in which its scan is measured.

    The bridge of the nose is the middle between the inner corners of the eyes. The centre lies 0.3 of the way from
    below the nose to the bridge. The radius is 1.2 times the mean of two lengths: from below the nose to the bridge,
    and between the outer corners of the eyes.

    Args:
        landmarks: (7, 3), those of the scan.

    Returns:
        Centre (3,) and radius (scalar), in the unit of the landmarks.
    """
    nose = landmarks[NOSE]
    bridge = (landmarks[EYE_RIGHT_INNER] + landmarks[EYE_LEFT_INNER]) / 2
    width = (landmarks[EYE_RIGHT_OUTER] - landmarks[EYE_LEFT_OUTER]).norm()
    return nose + 0.3 * (bridge - nose), 1.2 * (width + (bridge - nose).norm()) / 2


class ShapeMetric(BaseMetric):
    """Base of metrics that are means over samples. ``measure`` returns a sample's numbers, ``NAMES`` their names."""

    NAMES: tuple[str, ...]

    def process(self, data_batch: dict, data_samples: Sequence[Mapping]) -> None:
        """Measure samples.

        Args:
            data_batch: Not used.
            data_samples: Predictions with labels; the class lists the fields.

        Raises:
            ValueError: A field is missing, has another shape, or holds nothing that can be measured.
        """
        for sample in data_samples:
            self.results.append(self.measure(sample))

    def measure(self, sample: Mapping) -> np.ndarray:
        """Return the numbers of one sample, in the order of ``NAMES``."""
        raise NotImplementedError

    def compute_metrics(self, results: Sequence[np.ndarray]) -> dict[str, float]:
        """Average over samples.

        Args:
            results: The numbers of each sample.

        Raises:
            ValueError: There are no samples.
        """
        if not results:
            raise ValueError(f'{type(self).__name__}: there are no samples to measure')
        return {name: float(value) for name, value in zip(self.NAMES, np.mean(results, 0), strict=True)}


@METRICS.register_module()
class HandMeshMetric(ShapeMetric):
    """FreiHAND's metrics: errors of joints and vertices in millimetres, and F-scores at 5 and 15 mm.

    MPJPE is relative to the wrist. PA-MPJPE and PA-PVE are computed after a similarity transform of the prediction onto
    the truth, one for joints and one for vertices. The F-scores are those of the aligned vertices.

    Samples have ``pred_joints`` and ``gt_joints`` (21, 3), ``pred_vertices`` and ``gt_vertices`` (778, 3), in metres.
    """

    default_prefix = 'hand'
    NAMES = ('PA-MPJPE', 'PA-PVE', *(f'F@{threshold}' for threshold in THRESHOLDS), 'MPJPE')

    def measure(self, sample: Mapping) -> np.ndarray:
        """Return the numbers (5,) of one hand, in the order of ``NAMES``.

        Raises:
            ValueError: A field is missing, has another shape, or holds NaN or infinite values.
        """
        joints, true_joints, vertices, true_vertices = (
            MILLIMETRES * _points(sample, f'{side}_{part}', count)
            for part, count in (('joints', 21), ('vertices', 778))
            for side in ('pred', 'gt')
        )
        aligned = similarity_align(vertices, true_vertices)
        errors = (
            similarity_align(joints, true_joints) - true_joints,
            aligned - true_vertices,
            (joints - joints[0]) - (true_joints - true_joints[0]),
        )
        pa_mpjpe, pa_pve, mpjpe = (error.norm(dim=-1).mean().item() for error in errors)
        return np.array([pa_mpjpe, pa_pve, *(f_score(aligned, true_vertices, t) for t in THRESHOLDS), mpjpe])


@METRICS.register_module()
class FaceScanMetric(ShapeMetric):
    """Distance from a scan of a neutral face to the surface predicted from a photograph (Stirling, FG 2018).

    A similarity transform of seven landmarks moves the prediction onto the scan. The points of the scan within
    ``face_region`` are measured. The metric is the mean over images of each image's mean or root mean square, in mm.

    Samples have ``pred_vertices`` (V, 3) and ``pred_joints`` (73, 3) of FLAME, in metres, ``pred_faces`` (F, 3), and
    ``scan_vertices`` (N, 3) and ``scan_landmarks`` (7, 3) in millimetres.

    Args:
        mode: 'mean' is the 3DRMSE of MMHuman3D and the paper. 'rms' is the challenge's definition and larger.
        collect_device: See MMEngine's ``BaseMetric``.
        prefix: Prefix of the metric's name.

    Raises:
        ValueError: The mode is unknown.
    """

    default_prefix = 'face'
    NAMES = ('3DRMSE',)

    def __init__(self, mode: str = 'mean', collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        if mode not in MODES:
            raise ValueError(f'mode={mode!r}: expected {" or ".join(MODES)}')
        self.mode = mode

    def measure(self, sample: Mapping) -> np.ndarray:
        """Return the error (1,) of one image, in millimetres.

        Raises:
            ValueError: A field is missing or has another shape, or no point of the scan lies in the face's region.
        """
        predicted = _points(sample, 'pred_joints', 73)[list(FACE3D_IN_FLAME)]
        landmarks = _points(sample, 'scan_landmarks', 7)
        # The scale of the transform converts metres to the scan's millimetres.
        vertices = apply_similarity(_points(sample, 'pred_vertices'), *similarity_transform(predicted, landmarks))
        centre, radius = face_region(landmarks)
        scan = _points(sample, 'scan_vertices')
        region = scan[(scan - centre).norm(dim=-1) <= radius]
        if not len(region):
            raise ValueError(
                f'{_name(sample)}: none of {len(scan)} scan_vertices is within {radius:.1f} mm of the middle of '
                "scan_landmarks: expected both of one scan, in millimetres, with Stirling's order of landmarks"
            )
        distances = surface_distances(region, vertices, _field(sample, 'pred_faces').to(vertices.device))
        return np.array([distances.mean().item() if self.mode == 'mean' else distances.square().mean().sqrt().item()])


def _field(sample: Mapping, name: str) -> Tensor:
    if name not in sample:
        source = 'the model predicts' if name.startswith('pred_') else 'the test set has'
        raise ValueError(f'{_name(sample)} has no {name!r}: expected a metric that fits what {source}')
    return torch.as_tensor(sample[name])


def _points(sample: Mapping, name: str, count: int | None = None) -> Tensor:
    """Return the points (count, 3) of a field in float64, on the device of the sample's predictions."""
    points = _field(sample, name)
    expected = (len(points) if count is None else count, 3)
    if points.shape != expected:
        wanted = f'({"N" if count is None else count}, 3)'
        raise ValueError(f'{_name(sample)}: {name} has shape {tuple(points.shape)}, expected {wanted}')
    if not torch.isfinite(points).all():
        raise ValueError(f'{_name(sample)}: {name} holds NaN or infinite coordinates')
    return points.to(_field(sample, 'pred_vertices').device, torch.float64)


def _name(sample: Mapping) -> str:
    return str(sample.get('img_path', 'a data sample'))
