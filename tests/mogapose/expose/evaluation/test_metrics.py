"""Metrics of hands and faces: numbers computed by hand, invariances, and invalid samples."""

import math

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import BaseDataElement

import mogapose.expose  # noqa: F401  registers
from mogapose.expose.evaluation.metrics import FaceScanMetric, HandMeshMetric, f_score, face_region
from mogapose.expose.models.conventions import FACE3D_IN_FLAME
from mogapose.expose.models.rotation import axis_angle_to_matrix

DOUBLE = dict(dtype=torch.float64)
# Right eye outer, inner, left eye inner, outer, nose, mouth right, left; millimetres. The bridge is (0, 30, 0), the
# middle 0.3 of 40 above the nose: (0, 2, 0); the radius 1.2 (100 + 40) / 2 = 84.
LANDMARKS = torch.tensor(
    [[-50.0, 30, 0], [-15, 30, 0], [15, 30, 0], [50, 30, 0], [0, -10, 0], [-25, -40, 5], [25, -40, 5]]
)
SIDE = 25  # vertices along each side of the cube
MIDDLE, RADIUS = torch.tensor([0.0, 2, 0]), 84


def evaluate(kind, *samples, **options):
    evaluator = Evaluator(dict(type=f'mogapose.{kind}', **options))
    for sample in samples:
        evaluator.process(data_samples=[BaseDataElement(metainfo=dict(img_path='a.jpg'), **sample)])
    return evaluator.evaluate(len(samples))


def hand(seed=0):
    """A sample with a correct prediction of the size of a hand, in metres."""
    generator = torch.Generator().manual_seed(seed)
    joints, vertices = 0.08 * torch.randn(21, 3, generator=generator), 0.05 * torch.randn(778, 3, generator=generator)
    return dict(pred_joints=joints, gt_joints=joints, pred_vertices=vertices, gt_vertices=vertices)


def similar(points, mirror=False):
    """Rotate, enlarge and move points; mirror them on request."""
    turn = axis_angle_to_matrix(torch.tensor([0.3, -1.2, 0.7], **DOUBLE))
    if mirror:
        turn = turn @ torch.diag(torch.tensor([1.0, 1, -1], **DOUBLE))
    return 1.7 * points.double() @ turn.T + torch.tensor([0.4, -2.0, 3.0], **DOUBLE)


def face(vertices, triangles, scan, **changes):
    """A sample of a mesh in millimetres with correct landmarks."""
    joints = torch.zeros(73, 3, **DOUBLE)
    joints[list(FACE3D_IN_FLAME)] = LANDMARKS.double() / 1000
    sample = dict(pred_vertices=vertices.double() / 1000, pred_joints=joints, pred_faces=triangles)
    return sample | dict(scan_vertices=scan, scan_landmarks=LANDMARKS) | changes


def plane(z=0.0):
    """A square of two triangles, and points of a scan at known heights above it."""
    corners = torch.tensor([[-300.0, -300, z], [300, -300, z], [300, 300, z], [-300, 300, z]])
    return corners, torch.tensor([[0, 1, 2], [0, 2, 3]])


def sphere_mesh(radius):
    """A fine mesh of a sphere around ``MIDDLE``, the six sides of a cube projected to it."""
    steps = torch.tan(torch.linspace(-math.pi / 4, math.pi / 4, SIDE, **DOUBLE))
    u, v = torch.meshgrid(steps, steps, indexing='ij')
    sides = []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            parts = [u, v]
            parts.insert(axis, torch.full_like(u, sign))
            sides.append(torch.stack(parts, -1).reshape(-1, 3))
    number = torch.arange(SIDE**2).reshape(SIDE, SIDE)
    a, b, c, d = number[:-1, :-1], number[1:, :-1], number[1:, 1:], number[:-1, 1:]
    quads = torch.cat((torch.stack((a, b, c), -1).reshape(-1, 3), torch.stack((a, c, d), -1).reshape(-1, 3)))
    vertices = torch.nn.functional.normalize(torch.cat(sides), dim=-1)
    return radius * vertices + MIDDLE.double(), torch.cat([quads + side * SIDE**2 for side in range(6)])


def test_a_similar_hand_has_no_error():
    sample = hand()
    for name in ('pred_joints', 'pred_vertices'):
        sample[name] = similar(sample[name])
    found = evaluate('HandMeshMetric', sample)
    assert found['hand/PA-MPJPE'] < 1e-10
    assert found['hand/PA-PVE'] < 1e-10
    assert found['hand/F@5'] == found['hand/F@15'] == 1
    assert found['hand/MPJPE'] > 10


def test_a_mirrored_hand_is_not_aligned():
    sample = hand()
    for name in ('pred_joints', 'pred_vertices'):
        sample[name] = similar(sample[name], mirror=True)
    found = evaluate('HandMeshMetric', sample)
    assert found['hand/PA-MPJPE'] > 30
    assert found['hand/PA-PVE'] > 20


def test_hand_errors_are_millimetres_and_means_over_samples():
    axes = torch.cat((torch.eye(3), -torch.eye(3))).repeat(4, 1)[:21] * 0.1
    wrong = axes.clone()
    wrong[1] += torch.tensor([0, 0.03, 0.04])  # 50 mm off, one joint of 21
    right, sample = hand(), hand()
    sample.update(pred_joints=wrong.double() + 5, gt_joints=axes)
    found = evaluate('HandMeshMetric', sample, right, right)
    assert found['hand/MPJPE'] == pytest.approx(50 / 21 / 3, rel=1e-6)
    assert found['hand/PA-PVE'] == pytest.approx(0, abs=1e-4)


def test_aligned_errors_of_a_square_by_hand():
    """A square becomes a rectangle, 6 x 2 for 4 x 4."""
    square = torch.tensor([[2.0, 2, 0], [-2, 2, 0], [-2, -2, 0], [2, -2, 0]], **DOUBLE)
    rectangle = torch.tensor([[3.0, 1, 0], [-3, 1, 0], [-3, -1, 0], [3, -1, 0]], **DOUBLE)
    # s = (4 (6 + 2)) / (4 (9 + 1)) = 0.8: corners at (2.4, 0.8), sqrt(0.16 + 1.44) from (2, 2).
    vertices, truth = (torch.cat((points.repeat(194, 1), points[:2] * 0)) for points in (rectangle, square))
    sample = dict(pred_vertices=vertices / 1000, gt_vertices=truth / 1000)
    vertices, truth = (torch.cat((points.repeat(5, 1), points[:1] * 0)) for points in (rectangle, square))
    found = evaluate('HandMeshMetric', sample | dict(pred_joints=vertices / 1000, gt_joints=truth / 1000))
    assert found['hand/PA-PVE'] == pytest.approx(776 / 778 * math.sqrt(1.6), rel=1e-6)
    assert found['hand/PA-MPJPE'] == pytest.approx(20 / 21 * math.sqrt(1.6), rel=1e-6)


def test_f_score_of_toy_clouds():
    truth = torch.tensor([[0.0, 0, 0], [10, 0, 0], [20, 0, 0], [30, 0, 0]])
    prediction = torch.tensor([[0.0, 3, 4], [10, 0, 4.9], [100, 0, 0]])
    # Closer than 5: the second of each only, 5 itself does not count. P = 1 / 4, R = 1 / 3.
    assert f_score(prediction, truth, 5) == pytest.approx(2 * (1 / 4) * (1 / 3) / (1 / 4 + 1 / 3))
    # Closer than 15: all four (20 from 10: sqrt(100 + 24) = 11.1; 30 from none) but the last; two of three.
    assert f_score(prediction, truth, 15) == pytest.approx(2 * (3 / 4) * (2 / 3) / (3 / 4 + 2 / 3))
    assert f_score(prediction + 1000, truth, 15) == 0
    assert f_score(truth, truth, 5) == 1


def test_f_scores_are_of_aligned_vertices_at_5_and_15_mm():
    corners = torch.tensor([[1.0, 1, 1], [-1, -1, 1], [-1, 1, -1], [1, -1, -1]], **DOUBLE).repeat(195, 1)[:776]
    # Two vertices, opposite each other, are moved along a line through the middle, which alignment cannot follow.
    pull = torch.tensor([[0, 0, 0.3], [0, 0, -0.3]], **DOUBLE)
    truth = torch.cat((0.1 * corners, pull))
    moved = truth.clone()
    moved[-2:, 2] *= 1 + 0.010 / 0.3  # 10 mm
    found = evaluate('HandMeshMetric', hand() | dict(pred_vertices=moved, gt_vertices=truth))
    assert found['hand/F@5'] == pytest.approx(776 / 778, rel=1e-12)
    assert found['hand/F@15'] == 1


def test_face_region_by_hand():
    centre, radius = face_region(LANDMARKS)
    torch.testing.assert_close(centre, MIDDLE)
    assert radius.item() == pytest.approx(RADIUS, rel=1e-6)


def test_points_within_the_radius_count():
    vertices, triangles = plane()
    # 84 mm and a little less and more from the middle, in the plane's direction; heights 3, 4 and 100.
    scan = MIDDLE + torch.tensor([[math.sqrt(84**2 - 9) - 0.01, 0, 3], [0, -20, 4], [84.01, 0, 0], [0, 0, 100]])
    assert evaluate('FaceScanMetric', face(vertices, triangles, scan))['face/3DRMSE'] == pytest.approx(3.5, rel=1e-5)


def test_mean_and_root_mean_square_differ():
    vertices, triangles = plane()
    # The face itself lies in the plane: heights 1 and 7 have mean 4 and root mean square 5; 0 and 0 have 0.
    samples = [
        face(vertices, triangles, MIDDLE + torch.tensor([[10.0, 0, high], [-10, 0, -low]]))
        for high, low in ((1, 7), (0, 0))
    ]
    assert evaluate('FaceScanMetric', *samples)['face/3DRMSE'] == pytest.approx(2, rel=1e-5)
    assert evaluate('FaceScanMetric', *samples, mode='mean')['face/3DRMSE'] == pytest.approx(2, rel=1e-5)
    assert evaluate('FaceScanMetric', *samples, mode='rms')['face/3DRMSE'] == pytest.approx(2.5, rel=1e-5)
    with pytest.raises(ValueError, match="mode='median': expected mean or rms"):
        FaceScanMetric('median')


def test_a_similar_face_has_no_error():
    vertices, triangles = sphere_mesh(60.0)
    sample = face(vertices, triangles, vertices)
    for name in ('pred_vertices', 'pred_joints'):
        sample[name] = similar(sample[name])
    assert evaluate('FaceScanMetric', sample)['face/3DRMSE'] < 1e-10


def test_a_scan_one_millimetre_larger_is_one_millimetre_off():
    vertices, triangles = sphere_mesh(60.0)
    scan = (vertices - MIDDLE) * (61 / 60) + MIDDLE
    for mode in ('mean', 'rms'):
        found = evaluate('FaceScanMetric', face(vertices, triangles, scan), mode=mode)['face/3DRMSE']
        assert found == pytest.approx(1.0, abs=1e-4)


def test_a_mirrored_face_is_not_aligned():
    vertices, triangles = sphere_mesh(60.0)
    # A sphere is its own mirror image: the nose of this face is not.
    vertices[(vertices - torch.tensor([0, -10, 60.0])).norm(dim=-1) < 20] += torch.tensor([0, 0, 25.0])
    sample = face(vertices, triangles, vertices)
    for name in ('pred_vertices', 'pred_joints'):
        sample[name] = similar(sample[name], mirror=True)
    assert evaluate('FaceScanMetric', sample)['face/3DRMSE'] > 1


def test_a_scan_elsewhere_is_refused():
    vertices, triangles = plane()
    message = (
        'a.jpg: none of 5 scan_vertices is within 84.0 mm of the middle of scan_landmarks: expected both of one scan'
    )
    with pytest.raises(ValueError, match=message):
        evaluate('FaceScanMetric', face(vertices, triangles, torch.full((5, 3), 200.0)))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(gt_joints=torch.zeros(20, 3)), r'a.jpg: gt_joints has shape \(20, 3\), expected \(21, 3\)'),
        (dict(pred_vertices=torch.zeros(779, 3)), r'pred_vertices has shape \(779, 3\), expected \(778, 3\)'),
        (dict(pred_joints=torch.full((21, 3), math.nan)), 'a.jpg: pred_joints holds NaN or infinite'),
        (dict(gt_vertices=None), "a.jpg has no 'gt_vertices': expected a metric that fits what the test set has"),
    ],
)
def test_samples_that_do_not_fit_are_named(changes, message):
    sample = {name: value for name, value in (hand() | changes).items() if value is not None}
    with pytest.raises(ValueError, match=message):
        evaluate('HandMeshMetric', sample)


def test_a_hand_is_no_face():
    with pytest.raises(ValueError, match=r'pred_joints has shape \(21, 3\), expected \(73, 3\)'):
        evaluate('FaceScanMetric', hand())


def test_numbers_alone_are_kept():
    """A hand is reduced to five numbers, so that processes exchange no meshes; ``test_dist.py`` runs two."""
    metric = HandMeshMetric()
    metric.process({}, [hand(1), hand(0)])
    assert [(type(result), result.shape) for result in metric.results] == [(np.ndarray, (5,))] * 2
    metric.evaluate(2)
    assert metric.results == []
    vertices, triangles = sphere_mesh(60.0)
    faces = FaceScanMetric()
    faces.process({}, [face(vertices, triangles, vertices)])
    assert [result.shape for result in faces.results] == [(1,)]


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match='HandMeshMetric: there are no samples to measure'):
        HandMeshMetric().compute_metrics([])
