"""The metrics of the tables, against scikit-image and plain formulas."""

import json
import math
from itertools import product

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from skimage.metrics import structural_similarity

from helpers.cases import for_each
from moganet.paper.results import newest_metrics
from mogavideo.metrics import VideoMetric, ssim


def clip(prediction, target, inputs=None):
    inputs = torch.zeros_like(target) if inputs is None else inputs
    return dict(prediction=prediction, target=target, inputs=inputs)


def evaluate(clips, **options):
    evaluator = Evaluator(dict(type='VideoMetric', **options))
    for some in (clips[:2], clips[2:]):
        evaluator.process(data_samples=some)
    return evaluator.evaluate(len(clips))


@pytest.fixture
def clips():
    """Return five clips of 4 frames, 3 channels, 20x24 pixels, with predictions below 0 and above 1."""
    random = torch.Generator().manual_seed(1)
    targets = torch.rand(5, 4, 3, 20, 24, generator=random)
    predictions = targets + 0.3 * torch.randn(targets.shape, generator=random)
    inputs = torch.rand(5, 6, 3, 20, 24, generator=random)
    return [clip(*frames) for frames in zip(predictions, targets, inputs, strict=True)]


@for_each(product([(5, 1, 64, 64), (3, 3, 33, 40), (2, 1, 7, 9)], [1, 2]))
def test_ssim_is_that_of_scikit_image(shape, data_range):
    random = np.random.default_rng(0)
    a = random.random(shape)
    b = (a + 0.3 * random.normal(size=shape)).clip(0, 1)
    a[0], b[1] = 0, 0.5  # flat frames, as between moving digits
    expected = [structural_similarity(x, y, data_range=data_range, channel_axis=0) for x, y in zip(a, b, strict=True)]
    found = ssim(torch.from_numpy(a), torch.from_numpy(b), data_range)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-9)
    # Single precision, as models compute: within 1e-6 of scikit-image in double.
    found = ssim(torch.from_numpy(a).float(), torch.from_numpy(b).float(), data_range)
    np.testing.assert_allclose(found.numpy(), expected, rtol=0, atol=1e-6)


def test_ssim_needs_a_window():
    with pytest.raises(ValueError, match='at least 7x7 pixels, these have 6x32'):
        ssim(torch.zeros(1, 1, 6, 32), torch.zeros(1, 1, 6, 32), 1)


def test_metrics_follow_their_definitions(clips):
    found = evaluate(clips, data_range=1.0)
    p, t, x = (torch.stack([c[key] for c in clips]).double().numpy() for key in ('prediction', 'target', 'inputs'))
    clipped = np.clip(p, 0, 1)
    assert found['video/mse'] == pytest.approx(((p - t) ** 2).mean((0, 1)).sum(), rel=1e-9)
    assert found['video/mae'] == pytest.approx(np.abs(p - t).mean((0, 1)).sum(), rel=1e-9)
    assert found['video/mse_copy_last'] == pytest.approx(((x[:, -1:] - t) ** 2).mean((0, 1)).sum(), rel=1e-9)
    frames = [(clipped[b, f], t[b, f]) for b in range(5) for f in range(4)]
    expected = np.mean([structural_similarity(*pair, data_range=1, channel_axis=0) for pair in frames])
    assert found['video/ssim'] == pytest.approx(expected, abs=1e-6)
    expected = np.mean([-10 * math.log10(((a - b) ** 2).mean()) for a, b in frames])
    assert found['video/psnr'] == pytest.approx(expected, rel=1e-9)


def test_frames_of_known_error():
    target = torch.zeros(2, 1, 8, 8)
    prediction = torch.stack([torch.full((1, 8, 8), 0.5), torch.full((1, 8, 8), -2.0)])
    found = evaluate([clip(prediction, target, torch.ones(3, 1, 8, 8))] * 3, per_frame=True)
    # 64 pixels. Values below 0 count in the errors and are clipped for PSNR, which 1e-10 keeps finite.
    assert found['video/mse_per_frame'] == [16, 256]
    assert found['video/mse'] == 136
    assert found['video/mae_per_frame'] == [32, 128]
    assert found['video/mae'] == 80
    assert found['video/psnr_per_frame'] == pytest.approx([6.0206, 100], abs=1e-4)
    assert found['video/mse_copy_last_per_frame'] == [64, 64]
    # Flat frames have no covariance: only the constants and the means are left.
    c = (0.01 * 2) ** 2
    assert found['video/ssim_per_frame'] == pytest.approx([c / (0.25 + c), 1], abs=1e-6)


def test_defaults_are_those_of_the_tables(clips):
    assert evaluate(clips) == evaluate(clips, data_range=2.0)
    assert evaluate(clips)['video/ssim'] != pytest.approx(evaluate(clips, data_range=1.0)['video/ssim'], abs=1e-3)
    assert {type(value) for value in evaluate(clips).values()} == {float}


def test_curves_average_to_the_metrics(clips):
    found = evaluate(clips, per_frame=True)
    for name in ('mse', 'mae', 'ssim', 'psnr', 'mse_copy_last'):
        assert len(found[f'video/{name}_per_frame']) == 4
        assert np.mean(found[f'video/{name}_per_frame']) == pytest.approx(found[f'video/{name}'], rel=1e-5)


def test_no_pixels_are_kept(clips):
    metric = VideoMetric()
    metric.process({}, clips)
    assert [result.shape for result in metric.results] == [(5, 4)] * 5


def test_any_number_of_frames_is_measured():
    target = torch.zeros(17, 1, 8, 8)
    found = evaluate([clip(target + 0.25, target)] * 3, per_frame=True)
    assert found['video/mse_per_frame'] == [4] * 17


def test_half_precision_is_measured_in_double():
    target = torch.zeros(1, 1, 64, 64)
    found = evaluate([clip(target.bfloat16() + 0.5, target)])
    assert found['video/mse'] == 1024


def test_clips_that_do_not_match_are_refused():
    frames = torch.zeros(4, 1, 8, 8)
    with pytest.raises(ValueError, match=r'prediction has shape \(4, 1, 8, 8\), its target \(3, 1, 8, 8\)'):
        evaluate([clip(frames, frames[:3])])
    with pytest.raises(ValueError, match=r'clips of one length to measure, found lengths \[2, 4\]'):
        evaluate([clip(frames, frames), clip(frames[:2], frames[:2])])


def test_tables_find_the_metrics_in_the_file_of_a_test(clips, tmp_path):
    run = tmp_path / '20260101_000000'
    run.mkdir()
    found = evaluate(clips, per_frame=True)
    (run / f'{run.name}.json').write_text(json.dumps(found))
    assert newest_metrics(tmp_path) == {key: value for key, value in found.items() if not key.endswith('_per_frame')}
