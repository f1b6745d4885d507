"""Prediction of single clips, without a data set."""

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

    The model reads the first frames of a clip, ``model.in_shape[0]`` of the config, and predicts ``model.out_frames``.
    Frames of another size are resized to the size of the model.

    Args:
        cfg: A video prediction config.
        checkpoint: A file, an address or moganet://NAME.

    Raises:
        FileNotFoundError: the checkpoint does not exist.
        ValueError: the checkpoint does not match the whole model.
    """

    def __init__(self, cfg: Config, checkpoint: str) -> None:
        with DefaultScope.overwrite_default_scope('mmengine'):
            model = MODELS.build(dict(cfg.model))
        self.model = model.to(get_device()).eval()
        load_for_inference(self.model, checkpoint)

    @torch.no_grad()
    def __call__(self, clip: np.ndarray | str | Path, frames: int | None = None) -> np.ndarray:
        """Predict the frames that follow the first frames of a clip.

        Args:
            clip: Frames (T, C, H, W), uint8 or floats in [0, 1], or a path that ``read_clip`` reads.
            frames: Number of frames to predict, ``model.out_frames`` by default. Beyond one pass of the model, its own
                predictions are the input.

        Returns:
            Predicted frames, (frames, C, H, W) float32, not clipped to [0, 1].

        Raises:
            FileNotFoundError: the path does not exist.
            ValueError: the clip cannot be read, is too short or has another number of channels.
        """
        num_inputs, channels, height, width = self.model.in_shape
        if not isinstance(clip, np.ndarray):
            clip = read_clip(clip, channels, num_inputs)
        if clip.ndim != 4 or len(clip) < num_inputs or clip.shape[1] != channels:
            raise ValueError(
                f'the clip has shape {clip.shape}: '
                f'expected at least {num_inputs} frames (T, C, H, W) of {channels} channels'
            )
        if np.issubdtype(clip.dtype, np.floating):
            clip = clip.astype(np.float32)
        data = dict(inputs=torch.from_numpy(resized(clip[:num_inputs], height, width))[None])
        inputs = self.model.data_preprocessor(data)['inputs']
        return self.model.roll_out(inputs, frames or self.model.out_frames)[0].float().cpu().numpy()

    def draw(self, clip: str | Path, path: str | Path) -> str:
        """Write the prediction of a clip as a strip (PNG) and, beside it, as an animation (GIF).

        The prediction is compared with the frames of the clip that follow the input frames, if there are any.

        Args:
            clip: Path of a clip that ``read_clip`` reads.
            path: PNG to write; the GIF has the same name with another suffix.

        Returns:
            A summary: number of frames, error, resizing.

        Raises:
            FileNotFoundError: the clip does not exist.
            ValueError: the clip cannot be read, is too short, or would be overwritten by the GIF.
        """
        num_inputs, channels, height, width = self.model.in_shape
        animation = Path(path).with_suffix('.gif')
        if animation.resolve() == Path(clip).resolve():
            raise ValueError(f'{clip} would be written over: choose another --out-dir')
        frames = read_clip(clip, channels, num_inputs + self.model.out_frames)
        if len(frames) < num_inputs:
            raise ValueError(f'{clip} has {len(frames)} frames, and the model reads {num_inputs}')
        original, frames = frames.shape[2:], resized(frames, height, width)
        prediction, target = self(frames), frames[num_inputs:]
        draw_strip(frames[:num_inputs], prediction, target, path)
        draw_animation(frames[:num_inputs], prediction, target, animation)
        summary = [f'{len(prediction)} frames after {num_inputs}, animated in {animation.name}']
        if len(target):
            summary.append(compared(prediction[: len(target)], target, frames[num_inputs - 1]))
        if original != (height, width):
            summary.append(f'resized from {original[0]}x{original[1]} to {height}x{width}')
        return '; '.join(summary)


def compared(prediction: np.ndarray, target: np.ndarray, last: np.ndarray) -> str:
    """Return the MSE of a prediction as text, beside the MSE of repeating the last input frame.

    Args:
        prediction: Predicted frames, (T, C, H, W).
        target: True frames, (T, C, H, W).
        last: The last input frame, (C, H, W).
    """
    truth = torch.from_numpy(target)
    model, copy = (
        frame_errors(torch.from_numpy(frames), truth)[0].mean()
        for frames in (prediction, np.broadcast_to(last, target.shape).copy())
    )
    return f'MSE {model:.1f}, last frame repeated {copy:.1f}'
