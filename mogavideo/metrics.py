"""Metrics of video prediction, as the tables of OpenSTL and SimVP define them."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS
from torch import Tensor

WINDOW = 7  # side of SSIM's window in pixels
MIN_ERROR = 1e-10  # limits the PSNR of a frame without error to 100 dB


def ssim(images: Tensor, others: Tensor, data_range: float) -> Tensor:
    """Return the structural similarity (Wang et al. 2004) of each image with its counterpart.

    The definition is scikit-image's default: uniform 7x7 windows inside the image, sample (co)variances, the mean over
    windows and channels.

    Args:
        images: Images, (N, C, H, W).
        others: Counterparts, (N, C, H, W).
        data_range: Range of the values, by which the constants 0.01 and 0.03 are multiplied.

    Returns:
        Similarity per image, (N,) float64.

    Raises:
        ValueError: the images are smaller than a window.
    """
    if min(images.shape[-2:]) < WINDOW:
        size = 'x'.join(map(str, images.shape[-2:]))
        raise ValueError(f'SSIM needs frames of at least {WINDOW}x{WINDOW} pixels, these have {size}')
    a, b = images.double(), others.double()
    mean_a, mean_b, squares, products = window_sums(torch.stack((a, b, a * a + b * b, a * b))) / WINDOW**2
    unbiased = WINDOW**2 / (WINDOW**2 - 1)
    variances = unbiased * (squares - mean_a**2 - mean_b**2)
    covariance = unbiased * (products - mean_a * mean_b)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    similarity = (2 * mean_a * mean_b + c1) * (2 * covariance + c2)
    return (similarity / ((mean_a**2 + mean_b**2 + c1) * (variances + c2))).mean((1, 2, 3))


def window_sums(maps: Tensor) -> Tensor:
    """Return the sums over all 7x7 windows inside maps: (..., H, W) to (..., H - 6, W - 6).

    Sums of 2, 4 and 6 neighbours are shared, so a side costs four additions instead of six.
    """
    for side in (-2, -1):
        size = maps.shape[side]
        two = maps.narrow(side, 0, size - 1) + maps.narrow(side, 1, size - 1)
        four = two.narrow(side, 0, size - 3) + two.narrow(side, 2, size - 3)
        six = four.narrow(side, 0, size - 6) + two.narrow(side, 4, size - 6)
        maps = six + maps.narrow(side, 6, size - 6)
    return maps


def frame_errors(prediction: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return the squared and the absolute error of each frame, summed over channels and pixels.

    Args:
        prediction: Predicted frames, (T, C, H, W).
        target: True frames, (T, C, H, W).

    Returns:
        Squared errors (T,) and absolute errors (T,), float64.
    """
    difference = prediction.double() - target.double()
    return difference.square().sum((1, 2, 3)), difference.abs().sum((1, 2, 3))


@METRICS.register_module()
class VideoMetric(BaseMetric):
    """MSE, MAE, SSIM and PSNR of predicted frames, and the MSE of repeating the last input frame.

    Frames have values in [0, 1]. MSE and MAE use the predictions as they are and sum over channels and pixels. SSIM
    and PSNR use predictions clipped to [0, 1]. All are averaged over frames and clips. The metric stores five numbers
    per frame, no pixels.

    Args:
        data_range: Range of SSIM. The published tables use 2, scikit-image's old default for floats. The true range
            of frames in [0, 1] is 1 and gives lower values.
        per_frame: Add each metric per predicted frame as a list: mse_per_frame, ...
        collect_device: Device for collecting results over processes, see MMEngine's ``BaseMetric``.
        prefix: Prefix of the metrics' names, 'video' by default.
    """

    default_prefix = 'video'
    NAMES = ('mse', 'mae', 'ssim', 'psnr', 'mse_copy_last')

    def __init__(
        self,
        data_range: float = 2.0,
        per_frame: bool = False,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        self.data_range, self.per_frame = data_range, per_frame

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Measure the clips of a batch.

        Args:
            data_batch: Not used.
            data_samples: A dict per clip with ``prediction`` and ``target`` (T', C, H, W) and ``inputs`` (T, C, H, W).

        Raises:
            ValueError: a prediction has another shape than its target, or frames are too small for SSIM.
        """
        for sample in data_samples:
            self.results.append(self._measure(sample['prediction'], sample['target'], sample['inputs']))

    def _measure(self, prediction: Tensor, target: Tensor, inputs: Tensor) -> np.ndarray:
        """Return the metrics of each frame in the order of ``NAMES``, (5, T')."""
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
        """Return the means over all clips and frames, and with ``per_frame`` the means over all clips.

        Args:
            results: Metrics per clip, each (5, T').

        Raises:
            ValueError: there are no clips, or the clips have different numbers of frames.
        """
        lengths = sorted({result.shape[1] for result in results})
        if len(lengths) != 1:
            raise ValueError(f'expected clips of one length to measure, found lengths {lengths}')
        curves = dict(zip(self.NAMES, np.mean(results, 0), strict=True))
        metrics: dict[str, float | list[float]] = {name: float(curve.mean()) for name, curve in curves.items()}
        if self.per_frame:
            metrics |= {f'{name}_per_frame': curve.round(6).tolist() for name, curve in curves.items()}
        return metrics
