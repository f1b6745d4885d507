"""Preprocessing of clips: from the loader's bytes to the model's floats."""

import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class FramePreprocessor(BaseDataPreprocessor):
    """Moves clips to the model's device and scales bytes to float32 from 0 to 1. Floats are not scaled."""

    def forward(self, data: dict, training: bool = False) -> dict:
        """Preprocess a batch.

        Args:
            data: Clips (B, T, C, H, W): ``inputs`` and, where they are known, ``targets``.
            training: Not used.

        Returns:
            The same keys with float clips on the model's device.

        Raises:
            ValueError: frames are neither uint8 nor floats.
        """
        return {name: self._scaled(name, value) for name, value in self.cast_data(data).items()}

    @staticmethod
    def _scaled(name: str, frames: Tensor) -> Tensor:
        if frames.is_floating_point():
            return frames
        if frames.dtype != torch.uint8:
            raise ValueError(f'{name} is of {frames.dtype}: expected uint8 from 0 to 255, or floats from 0 to 1')
        return frames.float() / 255
