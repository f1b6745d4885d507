"""Readers of clips in users' files: GIFs, folders of frames, npy arrays."""

import re
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageSequence

from moganet.io.readable import require_readable

FRAME_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.pgm', '.ppm', '.tif', '.tiff', '.webp')
CLIP_SUFFIXES = ('.gif', '.npy')
EXPECTED = 'expected a GIF, an npy file or a folder of frames'
MODES = {1: 'L', 3: 'RGB'}  # Pillow's mode per number of channels
NPY_SHAPES = '(T, H, W), (T, C, H, W) or (T, H, W, C)'


def find_inputs(paths: Sequence[str]) -> list[Path]:
    """Return one path per clip.

    A file is one clip. A folder stands for the GIFs and npy files in it, or, if it has none, for one clip of frames.

    Raises:
        FileNotFoundError: a path does not exist, or a folder has neither clips nor frames.
        ValueError: a file is neither a GIF nor an npy file.
    """
    clips = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f'{path} does not exist')
        if path.is_file() and path.suffix.lower() not in CLIP_SUFFIXES:
            raise ValueError(f'{path} is no clip: {EXPECTED}')
        inside = sorted(p for p in path.iterdir() if p.suffix.lower() in CLIP_SUFFIXES) if path.is_dir() else [path]
        if not inside and not frame_files(path):
            raise FileNotFoundError(f'{path} holds no clips ({", ".join(CLIP_SUFFIXES)}) and no frames (png, jpg, ...)')
        clips += inside or [path]
    return clips


def frame_files(folder: Path) -> list[Path]:
    """Return the images in a folder, ordered by the numbers in their names: 9.png before 10.png."""

    def key(path: Path) -> list:
        return [(int(part), '') if part.isdigit() else (-1, part) for part in re.split(r'(\d+)', path.stem)]

    return sorted((p for p in folder.iterdir() if p.suffix.lower() in FRAME_SUFFIXES), key=key)


def read_clip(path: str | Path, channels: int, limit: int) -> np.ndarray:
    """Return the first frames of a clip, (T, C, H, W) float32 in [0, 1]. Images are converted to grey or RGB.

    Args:
        path: A GIF, an npy file of uint8 or of floats in [0, 1], or a folder of images of one size.
        channels: C, 1 for grey and 3 for RGB; npy files may have any number.
        limit: Maximum of frames, T.

    Raises:
        FileNotFoundError: ``path`` does not exist or is a folder without frames.
        ValueError: the clip cannot be read, or has another number of channels.
    """
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f'{path} does not exist')
    if path.suffix.lower() == '.npy':
        return _read_array(path, channels, limit)
    if path.suffix.lower() != '.gif' and not path.is_dir():
        raise ValueError(f'{path} is no clip: {EXPECTED}')
    if channels not in MODES:
        raise ValueError(f'{path} is made of pictures, and the model takes frames of {channels} channels: use npy')
    frames = _read_folder(path, MODES[channels], limit) if path.is_dir() else _read_gif(path, MODES[channels], limit)
    clip = np.stack(frames).astype(np.float32) / 255
    return clip.reshape(*clip.shape[:3], channels).transpose(0, 3, 1, 2)


def _read_gif(path: Path, mode: str, limit: int) -> list[np.ndarray]:
    require_readable(path)
    frames = []
    with Image.open(path) as file:
        try:
            for frame in ImageSequence.Iterator(file):
                frames.append(np.asarray(frame.convert(mode)))
                if len(frames) == limit:
                    break
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f'{path} cannot be read after {len(frames)} frames: {error}') from error
    return frames


def _read_folder(path: Path, mode: str, limit: int) -> list[np.ndarray]:
    frames = []
    for name in frame_files(path)[:limit]:
        require_readable(name)
        with Image.open(name) as file:
            frames.append(np.asarray(file.convert(mode)))
        if frames[-1].shape != frames[0].shape:
            sizes = ['x'.join(map(str, frame.shape[:2])) for frame in (frames[-1], frames[0])]
            raise ValueError(f'{name} has {sizes[0]} pixels, the first frame of the clip {sizes[1]}')
    if not frames:
        raise FileNotFoundError(f'{path} holds no frames (png, jpg, ...)')
    return frames


def _read_array(path: Path, channels: int, limit: int) -> np.ndarray:
    try:
        clip = np.load(path, mmap_mode='r', allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f'{path} cannot be read as an npy file, or is cut off or pickled: {error}') from error
    shape, clip = clip.shape, clip[:limit] if clip.ndim else clip
    if len(shape) == 3 and channels == 1:
        clip = clip[:, None]
    elif len(shape) == 4 and shape[1] != channels and shape[3] == channels:
        clip = clip.transpose(0, 3, 1, 2)
    elif len(shape) != 4 or shape[1] != channels:
        raise ValueError(f'{path} has shape {shape}: expected {NPY_SHAPES}, where the model takes C={channels}')
    if clip.dtype == np.uint8:
        return clip.astype(np.float32) / 255
    if not np.issubdtype(clip.dtype, np.floating) or not ((clip >= 0) & (clip <= 1)).all():
        raise ValueError(f'{path} holds {clip.dtype}: expected uint8 from 0 to 255, or floats from 0 to 1')
    return clip.astype(np.float32)


def resized(clip: np.ndarray, height: int, width: int) -> np.ndarray:
    """Resize a clip (T, C, H, W) to (T, C, height, width): by area average if the height shrinks, else bilinearly."""
    if clip.shape[2:] == (height, width):
        return clip
    interpolation = cv2.INTER_AREA if clip.shape[2] >= height else cv2.INTER_LINEAR
    flat = clip.reshape(-1, *clip.shape[2:])
    frames = np.stack([cv2.resize(frame, (width, height), interpolation=interpolation) for frame in flat])
    return frames.reshape(*clip.shape[:2], height, width)
