"""Metrics of video prediction, as the tables of OpenSTL and SimVP define them."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from torch import Tensor

WINDOW = 7  # of SSIM, in pixels
MIN_ERROR = 1e-10  # a frame without any error has 100 dB, not infinitely many


def ssim(images: Tensor, others: Tensor, data_range: float) -> Tensor:
    """Structural similarity of each image with its counterpart, as scikit-image defines it by default.

    The mean over channels and over all 7x7 windows that lie inside, all pixels of a window weighing alike, with sample
    (co)variances (Wang et al. 2004).

    Args:
        images: (N, C, H, W).
        others: The same shape.
        data_range: What the constants 0.01 and 0.03 are multiplied by.

    Returns:
        (N,) float64.

    Raises:
        ValueError: images smaller than a window.
    """
    if min(images.shape[-2:]) < WINDOW:
        found = 'x'.join(map(str, images.shape[-2:]))
        raise ValueError(f'SSIM needs frames of at least {WINDOW}x{WINDOW} pixels, these have {found}')
    a, b = images.double(), others.double()
    mean_a, mean_b, squares, products = window_sums(torch.stack((a, b, a * a + b * b, a * b))) / WINDOW**2
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    variances = unbiased * (squares - mean_a**2 - mean_b**2)
    covariance = unbiased * (products - mean_a * mean_b)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (similarity / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))).mean((1, 2, 3))


def window_sums(maps: Tensor) -> Tensor:
    """Sums over all 7x7 windows inside (..., H, W): (..., H - 6, W - 6). Four additions per side, not seven."""
    for side in (-2, -1):
        size = maps.shape[side]
        two = maps.narrow(side, 0, size - 1) + maps.narrow(side, 1, size - 1)
        four = two.narrow(side, 0, size - 3) + two.narrow(side, 2, size - 3)
        six = four.narrow(side, 0, size - 6) + two.narrow(side, 4, size - 6)
        maps = six + maps.narrow(side, 6, size - 6)
    return maps


def frame_errors(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Squared and absolute error of each frame, summed over channels and pixels: (T, C, H, W) to (T,) and (T,)."""
    difference = prediction.double() - target.double()
    return difference.square().sum((1, 2, 3)), difference.abs().sum((1, 2, 3))


@METRICS.register_module()
class VideoMetric(BaseMetric):
    """MSE, MAE, SSIM and PSNR of predicted frames, and the MSE of repeating the last frame seen.

    Frames have values in [0, 1]. MSE and MAE are of predictions as they are, summed over channels and pixels; SSIM and
    PSNR of predictions clipped to [0, 1]. All are averaged over frames and clips. Of each clip, five numbers per frame
    are kept, no pixels.

    Args:
        data_range: Of SSIM. The published tables have 2, scikit-image's old default for floats; 1 is what frames in
            [0, 1] call for, and lower.
        per_frame: Add the four metrics of each predicted frame, as lists: mse_per_frame, ...
        collect_device: As of MMEngine's metrics.
        prefix: Of the names of the metrics.
    """

    default_prefix = 'video'
    NAMES = ('mse', 'mae', 'ssim', 'psnr', 'mse_copy_last')

    def __init__(
        self,
        data_range: float = 2.0,
        per_frame: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ):
        super().__init__(collect_device, prefix)
        self.data_range, self.per_frame = data_range, per_frame

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Measure clips: dicts with ``prediction`` and ``target`` (T', C, H, W) and ``inputs`` (T, C, H, W).

        Raises:
            ValueError: a prediction of another shape than its target, or frames too small for SSIM.
        """
        for sample in data_samples:
            self.results.append(self._measure(sample['prediction'], sample['target'], sample['inputs']))

    def _measure(self, prediction: Tensor, target: Tensor, inputs: Tensor) -> np.ndarray:
        """(5, T'): the metrics of each frame, in the order of ``NAMES``."""
        if prediction.shape != target.shape:
            raise ValueError(f'the prediction has shape {tuple(prediction.shape)}, its target {tuple(target.shape)}')
        squared, absolute = frame_errors(prediction, target)
        copied, _ = frame_errors(inputs[-1:].expand_as(target), target)
        clipped = prediction.clamp(0, 1)
        error = frame_errors(clipped, target)[0] / target[0].numel()
        psnr = -10 * error.clamp_min(MIN_ERROR).log10()
        rows = squared, absolute, ssim(clipped, target, self.data_range), psnr, copied
        return torch.stack(rows).cpu().numpy()

    def compute_metrics(self, results: list[np.ndarray]) -> dict[str, float | list[float]]:
        """The means over all clips and frames.

        Raises:
            ValueError: there are no clips, or they have unlike numbers of frames.
        """
        lengths = sorted({result.shape[1] for result in results})
        if len(lengths) != 1:
            raise ValueError(f'expected clips of one length to measure, found lengths {lengths}')
        curves = dict(zip(self.NAMES, np.mean(results, 0), strict=True))
        metrics = {name: float(curve.mean()) for name, curve in curves.items()}
        if self.per_frame:
            metrics |= {f'{name}_per_frame': curve.round(6).tolist() for name, curve in curves.items()}
        return metrics
