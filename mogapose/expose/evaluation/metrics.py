"""Metrics of hands and faces, in millimetres. Each sample is reduced to a few numbers when it comes."""

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
# Of the F-scores of FreiHAND, in millimetres.
THRESHOLDS = (5, 15)
MODES = ('mean', 'rms')
# Rows of the seven landmarks.
EYE_RIGHT_OUTER, EYE_RIGHT_INNER, EYE_LEFT_INNER, EYE_LEFT_OUTER, NOSE = range(5)


def f_score(prediction: Tensor, target: Tensor, threshold: float) -> float:
    """Harmonic mean of two shares: targets (N, 3) with a prediction (M, 3) closer than ``threshold``, and the reverse.

    Zero if neither has any. Both are vertices, not surfaces.
    """
    distances = torch.cdist(prediction.double(), target.double(), compute_mode='donot_use_mm_for_euclid_dist')
    precision, recall = ((distances.amin(side) < threshold).double().mean().item() for side in (0, 1))
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def face_region(landmarks: Tensor) -> tuple[Tensor, Tensor]:
    """The sphere around a face in which a scan is measured: centre (3,) and radius, of the scan's landmarks (7, 3).

    It lies 0.3 of the way from below the nose to its bridge, the middle of the inner corners of the eyes. Its radius is
    1.2 times the mean of that way's length and of the distance between the outer corners.
    """
    nose = landmarks[NOSE]
    bridge = (landmarks[EYE_RIGHT_INNER] + landmarks[EYE_LEFT_INNER]) / 2
    width = (landmarks[EYE_RIGHT_OUTER] - landmarks[EYE_LEFT_OUTER]).norm()
    return nose + 0.3 * (bridge - nose), 1.2 * (width + (bridge - nose).norm()) / 2


class ShapeMetric(BaseMetric):
    """Means over samples, of each of which ``measure`` keeps the numbers that ``NAMES`` names."""

    NAMES: tuple[str, ...]

    def process(self, data_batch: dict, data_samples: Sequence[Mapping]) -> None:
        """Measure samples: see the class for the fields that they need.

        Raises:
            ValueError: a field is missing or has another shape, or nothing in it can be measured.
        """
        for sample in data_samples:
            self.results.append(self.measure(sample))

    def measure(self, sample: Mapping) -> np.ndarray:
        raise NotImplementedError

    def compute_metrics(self, results: Sequence[np.ndarray]) -> dict[str, float]:
        if not results:
            raise ValueError(f'{type(self).__name__}: there are no samples to measure')
        return {name: float(value) for name, value in zip(self.NAMES, np.mean(results, 0), strict=True)}


@METRICS.register_module()
class HandMeshMetric(ShapeMetric):
    """FreiHAND's: errors of joints and vertices, and F-scores at 5 and 15 mm.

    MPJPE is relative to the wrist. The others are of predictions after a similarity transform onto the truth, joints
    and vertices each with its own (PA); the F-scores are those of the aligned vertices.

    Samples have ``pred_joints`` and ``gt_joints`` (21, 3), ``pred_vertices`` and ``gt_vertices`` (778, 3), in metres.
    """

    default_prefix = 'hand'
    NAMES = ('PA-MPJPE', 'PA-PVE', *(f'F@{threshold}' for threshold in THRESHOLDS), 'MPJPE')

    def measure(self, sample: Mapping) -> np.ndarray:
        """The numbers (5,) of one hand, in the order of ``NAMES``."""
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
    """Distance from a scan of the neutral face to the surface that was predicted of a photograph (Stirling, FG 2018).

    The prediction goes onto the scan by a similarity transform of seven landmarks; the points of the scan within
    ``face_region`` are measured. The mean over images of each image's mean or root mean square.

    Samples have ``pred_vertices`` (V, 3) and ``pred_joints`` (73, 3) of FLAME, in metres, ``pred_faces`` (F, 3), and
    ``scan_vertices`` (N, 3) and ``scan_landmarks`` (7, 3) in millimetres.

    Args:
        mode: 'mean' is what MMHuman3D and the paper call 3DRMSE, 'rms' is the challenge's and larger.
        collect_device: As of MMEngine's metrics.
        prefix: Of the name of the metric.
    """

    default_prefix = 'face'
    NAMES = ('3DRMSE',)

    def __init__(self, mode: str = 'mean', collect_device: str = 'cpu', prefix: str | None = None) -> None:
        super().__init__(collect_device, prefix)
        if mode not in MODES:
            raise ValueError(f'mode={mode!r}: expected {" or ".join(MODES)}')
        self.mode = mode

    def measure(self, sample: Mapping) -> np.ndarray:
        """The error (1,) of one image."""
        predicted = _points(sample, 'pred_joints', 73)[list(FACE3D_IN_FLAME)]
        landmarks = _points(sample, 'scan_landmarks', 7)
        # Metres become the scan's millimetres by the scale of the transform.
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
        kind = 'the model predicts' if name.startswith('pred_') else 'the test set has'
        raise ValueError(f'{_name(sample)} has no {name!r}: expected a metric that fits what {kind}')
    return torch.as_tensor(sample[name])


def _points(sample: Mapping, name: str, count: int | None = None) -> Tensor:
    """(count, 3) in float64, all of a sample where its predictions are."""
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
