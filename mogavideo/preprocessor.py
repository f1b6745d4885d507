"""From the loader's bytes to what the model reads."""

import torch
from mmengine.model import BaseDataPreprocessor
from mmengine.registry import MODELS
from torch import Tensor


@MODELS.register_module()
class FramePreprocessor(BaseDataPreprocessor):
    """Moves clips to the model's device and scales bytes to float32 from 0 to 1; floats stay as they are.

    A batch is a dict of tensors (B, T, C, H, W), ``inputs`` and most often ``targets``.

    Raises:
        ValueError: frames that are neither bytes nor floats.
    """

    def forward(self, data: dict, training: bool = False) -> dict:
        return {name: self._scaled(name, value) for name, value in self.cast_data(data).items()}

    @staticmethod
    def _scaled(name: str, frames: Tensor) -> Tensor:
        if frames.is_floating_point():
            return frames
        if frames.dtype != torch.uint8:
            raise ValueError(f'{name} is of {frames.dtype}: expected uint8 from 0 to 255, or floats from 0 to 1')
        return frames.float() / 255
