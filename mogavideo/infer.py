"""Predictions for single clips, without a data set."""

from pathlib import Path

import numpy as np
import torch
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.registry import MODELS, DefaultScope

from moganet.checkpoint import load_for_inference

from .clip_files import read_clip, resized
from .draw import draw_animation, draw_strip
from .metrics import frame_errors


class Predictor:
    """A video prediction model with the weights of a checkpoint.

    It reads the first frames of a clip, as many as ``model.in_shape`` of its config says, and predicts
    ``model.out_frames``. Frames of another size are resized to the model's.

    Args:
        cfg: A video prediction config.
        checkpoint: A file, an address or moganet://NAME.

    Raises:
        ValueError, FileNotFoundError: the checkpoint cannot be loaded whole.
    """

    def __init__(self, cfg: Config, checkpoint: str):
        with DefaultScope.overwrite_default_scope('mmengine'):
            model = MODELS.build(dict(cfg.model))
        self.model = model.to(get_device()).eval()
        load_for_inference(self.model, checkpoint)

    @torch.no_grad()
    def __call__(self, clip: np.ndarray | str | Path, frames: int | None = None) -> np.ndarray:
        """The frames that follow the first ones of a clip, (frames, C, H, W) float32, not clipped to [0, 1].

        Args:
            clip: (T, C, H, W), uint8 or floats in [0, 1], or a path as ``read_clip`` takes it.
            frames: How many to predict; more than the model's in one go come from its own predictions.

        Raises:
            ValueError: a clip that cannot be read, is too short or has other channels.
        """
        seen, channels, height, width = self.model.in_shape
        if not isinstance(clip, np.ndarray):
            clip = read_clip(clip, channels, seen)
        if clip.ndim != 4 or len(clip) < seen or clip.shape[1] != channels:
            raise ValueError(
                f'the clip has shape {clip.shape}: expected at least {seen} frames (T, C, H, W) of {channels} channels'
            )
        if np.issubdtype(clip.dtype, np.floating):
            clip = clip.astype(np.float32)
        data = dict(inputs=torch.from_numpy(resized(clip[:seen], height, width))[None])
        inputs = self.model.data_preprocessor(data)['inputs']
        return self.model.roll_out(inputs, frames or self.model.out_frames)[0].float().cpu().numpy()

    def draw(self, clip: str | Path, path: str | Path) -> str:
        """Write a strip (PNG) and, beside it, an animation (GIF), and return in words what was predicted.

        Frames of the clip after those that the model reads are what the prediction is compared with.

        Raises:
            ValueError: as when called, or the GIF would take the place of the clip itself.
        """
        seen, channels, height, width = self.model.in_shape
        animation = Path(path).with_suffix('.gif')
        if animation.resolve() == Path(clip).resolve():
            raise ValueError(f'{clip} would be written over: choose another --out-dir')
        frames = read_clip(clip, channels, seen + self.model.out_frames)
        if len(frames) < seen:
            raise ValueError(f'{clip} has {len(frames)} frames, and the model reads {seen}')
        found, frames = frames.shape[2:], resized(frames, height, width)
        prediction, target = self(frames), frames[seen:]
        draw_strip(frames[:seen], prediction, target, path)
        draw_animation(frames[:seen], prediction, target, animation)
        words = [f'{len(prediction)} frames after {seen}, animated in {animation.name}']
        if len(target):
            words.append(compared(prediction[: len(target)], target, frames[seen - 1]))
        if found != (height, width):
            words.append(f'resized from {found[0]}x{found[1]} to {height}x{width}')
        return '; '.join(words)


def compared(prediction: np.ndarray, target: np.ndarray, last: np.ndarray) -> str:
    """MSE of a prediction (T, C, H, W) in words, beside that of repeating the last frame seen (C, H, W)."""
    truth = torch.from_numpy(target)
    model, copy = (
        frame_errors(torch.from_numpy(frames), truth)[0].mean()
        for frames in (prediction, np.broadcast_to(last, target.shape).copy())
    )
    return f'MSE {model:.1f}, last frame repeated {copy:.1f}'
