"""Figures of video prediction: strips and animations of input, truth and prediction, and error curves."""

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from moganet.io.figures import new_figure, save_figure
from moganet.io.images import write_image

STRIP_SIDE, GIF_SIDE = 96, 192  # height of a frame in pixels
GAP, LABEL_WIDTH, CAPTION_HEIGHT = 4, 112, 26  # in pixels
MILLISECONDS, LAST_MILLISECONDS = 180, 1200  # duration of each frame of an animation, and of its last frame
TEXT, EDGE, REAL, PREDICTED = (40, 40, 40), (200, 200, 200), (59, 110, 165), (192, 57, 43)


def as_rgb(frame: np.ndarray, side: int) -> np.ndarray:
    """Return a frame (C, H, W) in [0, 1] as RGB, (side, width, 3) uint8: the mean over channels unless C = 3."""
    frame = frame if len(frame) == 3 else frame.mean(0, keepdims=True).repeat(3, 0)
    return _enlarged(frame.clip(0, 1).transpose(1, 2, 0), side)


def difference(prediction: np.ndarray, target: np.ndarray, side: int) -> np.ndarray:
    """Return the difference of frames (C, H, W) as RGB on white, (side, width, 3) uint8.

    Red: the prediction is too bright. Blue: it is too dark.
    """
    signed = (prediction - target).mean(0).clip(-1, 1)
    red, blue = np.maximum(signed, 0), np.maximum(-signed, 0)
    return _enlarged(np.stack([1 - blue, 1 - red - blue, 1 - red], -1), side)


def _enlarged(picture: np.ndarray, side: int) -> np.ndarray:
    size = round(side * picture.shape[1] / picture.shape[0]), side
    larger = picture.shape[0] <= side
    picture = np.round(255 * picture).astype(np.uint8)
    return cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST if larger else cv2.INTER_AREA)


def draw_strip(inputs: np.ndarray, prediction: np.ndarray, target: np.ndarray, path: str | Path) -> Path:
    """Write a PNG with rows of frames: input, truth, prediction, and their difference.

    Args:
        inputs: Input frames, (T, C, H, W) in [0, 1].
        prediction: Predicted frames, (T', C, H, W), clipped to [0, 1].
        target: True frames, (T', C, H, W), or the first of them. Without frames, truth and difference are left out.
        path: File to write.

    Returns:
        The path written.
    """
    num_inputs = len(inputs)
    true_range, predicted_range = (f'{num_inputs + 1} to {num_inputs + len(frames)}' for frames in (target, prediction))
    differences = [difference(*pair, STRIP_SIDE) for pair in zip(prediction, target, strict=False)]
    rows = [
        (f'input\n1 to {num_inputs}', [as_rgb(frame, STRIP_SIDE) for frame in inputs]),
        (f'truth\n{true_range}', [as_rgb(frame, STRIP_SIDE) for frame in target]),
        (f'prediction\n{predicted_range}', [as_rgb(frame, STRIP_SIDE) for frame in prediction]),
        ('difference\nred: too bright\nblue: too dark', differences),
    ]
    rows = [(label, frames) for label, frames in rows if frames]
    height, width = rows[0][1][0].shape[:2]
    columns = max(len(frames) for _, frames in rows)
    picture = Image.new('RGB', (LABEL_WIDTH + columns * (width + GAP), GAP + len(rows) * (height + GAP)), 'white')
    draw = ImageDraw.Draw(picture)
    for row, (label, frames) in enumerate(rows):
        top = GAP + row * (height + GAP)
        draw.multiline_text((8, top + height // 2), label, TEXT, ImageFont.load_default(13), anchor='lm')
        for column, frame in enumerate(frames):
            left = LABEL_WIDTH + column * (width + GAP)
            picture.paste(Image.fromarray(frame), (left, top))
            if frames is differences:  # a white frame on white needs an edge
                draw.rectangle((left, top, left + width - 1, top + height - 1), outline=EDGE)
    return write_image(np.asarray(picture), path)


def draw_animation(inputs: np.ndarray, prediction: np.ndarray, target: np.ndarray, path: str | Path) -> Path:
    """Write an animated GIF: first the input, then prediction, truth and difference side by side.

    Args:
        inputs: Input frames, (T, C, H, W) in [0, 1].
        prediction: Predicted frames, (T', C, H, W), clipped to [0, 1].
        target: True frames, (T', C, H, W), the first of them, or none.
        path: File to write.

    Returns:
        The path written.
    """
    num_inputs, total = len(inputs), len(inputs) + len(prediction)
    pictures = []
    for i in range(total):
        if i < num_inputs:
            panels = [(f'input, {i + 1} of {total}', as_rgb(inputs[i], GIF_SIDE), REAL)]
        else:
            step = i - num_inputs
            panels = [(f'prediction, {i + 1} of {total}', as_rgb(prediction[step], GIF_SIDE), PREDICTED)]
            if step < len(target):
                panels.append(('truth', as_rgb(target[step], GIF_SIDE), REAL))
                panels.append(('difference', difference(prediction[step], target[step], GIF_SIDE), TEXT))
        pictures.append(_side_by_side(panels, 3 if len(target) else 1))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    durations = [MILLISECONDS] * (total - 1) + [LAST_MILLISECONDS]
    pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=durations, loop=0)
    return path


def _side_by_side(panels: Sequence[tuple[str, np.ndarray, tuple]], columns: int) -> Image.Image:
    """Return panels (caption, RGB frame, colour of text and edge) in a row with room for ``columns`` panels."""
    height, width = panels[0][1].shape[:2]
    picture = Image.new('RGB', (GAP + columns * (width + GAP), CAPTION_HEIGHT + height + GAP), 'white')
    draw = ImageDraw.Draw(picture)
    for column, (caption, frame, colour) in enumerate(panels):
        left = GAP + column * (width + GAP)
        draw.text((left, CAPTION_HEIGHT // 2), caption, colour, ImageFont.load_default(14), anchor='lm')
        picture.paste(Image.fromarray(frame), (left, CAPTION_HEIGHT))
        box = (left - 1, CAPTION_HEIGHT - 1, left + width, CAPTION_HEIGHT + height)
        draw.rectangle(box, outline=colour)
    return picture


def draw_curves(metrics: dict[str, list[float]], first: int, path: str | Path) -> Path:
    """Write a PNG with the curves of MSE and SSIM over the predicted frames.

    Args:
        metrics: ``mse_per_frame``, ``mse_copy_last_per_frame`` and ``ssim_per_frame`` of ``VideoMetric``.
        first: Number of the first predicted frame, counted from 1 at the first input frame.
        path: File to write.

    Returns:
        The path written.
    """
    frames = range(first, first + len(metrics['mse_per_frame']))
    figure = new_figure(9, 3.4)
    errors, similarities = figure.subplots(1, 2)
    errors.plot(frames, metrics['mse_copy_last_per_frame'], 'o--', color='#999999', label='last frame repeated')
    errors.plot(frames, metrics['mse_per_frame'], 'o-', color='#c0392b', label='prediction')
    errors.set_ylabel('MSE, summed over the frame')
    errors.set_ylim(bottom=0)
    errors.legend(frameon=False)
    similarities.plot(frames, metrics['ssim_per_frame'], 'o-', color='#3b6ea5')
    similarities.set_ylabel('SSIM')
    for axes in (errors, similarities):
        axes.set_xlabel('frame')
        axes.xaxis.get_major_locator().set_params(integer=True)
        for side in ('top', 'right'):
            axes.spines[side].set_visible(False)
    return save_figure(figure, path)
