"""Moving images: the law of Moving MNIST's training clips."""

import numpy as np

SIDE = 64  # of a frame, in pixels
NUM_OBJECTS = 2
# Per frame, as a share of the range that the corner of an object has: 36 pixels for MNIST's 28x28.
STEP = 0.1


def paths(start: np.ndarray, angle: np.ndarray, num_frames: int) -> np.ndarray:
    """Where objects are that move in a straight line and bounce off the walls of the unit square.

    Who would cross a wall stays on it for this frame and comes back from there at the same speed. The first frame is
    one step after ``start``.

    Args:
        start: (objects, 2), row and column, 0 to 1.
        angle: (objects,), in radians.
        num_frames: How many positions.

    Returns:
        (objects, num_frames, 2), 0 to 1.
    """
    position = start.copy()
    velocity = STEP * np.stack([np.sin(angle), np.cos(angle)], 1)
    found = np.empty((len(start), num_frames, 2))
    for i in range(num_frames):
        position = (position + velocity).clip(0, 1)
        velocity = np.where((position == 0) | (position == 1), -velocity, velocity)
        found[:, i] = position
    return found


def composite(objects: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Frames with objects on them; where they overlap, the brighter one is seen.

    Args:
        objects: (objects, height, width) uint8.
        corners: (objects, frames, 2) of integers, the top left pixel of each object in each frame.

    Returns:
        (frames, SIDE, SIDE) uint8.
    """
    count, height, width = objects.shape
    num_frames = corners.shape[1]
    layers = np.zeros((count, num_frames, SIDE, SIDE), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(layers, (height, width), axis=(2, 3), writeable=True)
    at = np.arange(count)[:, None], np.arange(num_frames), corners[..., 0], corners[..., 1]
    windows[at] = objects[:, None]
    return layers.max(0)


def moving(images: np.ndarray, num_frames: int, random: np.random.Generator) -> np.ndarray:
    """A clip of two images out of ``images`` that start anywhere and move anywhere.

    Args:
        images: (N, height, width) uint8, smaller than a frame.
        num_frames: Of the clip.
        random: Where the choice of images, starts and angles comes from.

    Returns:
        (num_frames, SIDE, SIDE) uint8.
    """
    objects = images[random.integers(len(images), size=NUM_OBJECTS)]
    places = paths(random.random((NUM_OBJECTS, 2)), random.uniform(0, 2 * np.pi, NUM_OBJECTS), num_frames)
    room = SIDE - np.array(images.shape[1:])
    return composite(objects, (room * places).astype(int))  # cut, not rounded, as the released generator does
