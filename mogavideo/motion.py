"""Clips of images that move and bounce, as in Moving MNIST's training clips."""

import numpy as np

SIDE = 64  # of a frame, in pixels
NUM_OBJECTS = 2
# Distance per frame, as a fraction of the range of an object's corner: 36 pixels for MNIST's 28x28 in 64x64.
STEP = 0.1


def bounce(start: np.ndarray, angle: np.ndarray, num_frames: int) -> np.ndarray:
    """Return the positions of objects that move in a straight line and bounce off the walls of the unit square.

    An object that would cross a wall is clamped to it for one frame and bounces back at the same speed. The first
    position is one step after ``start``.

    Args:
        start: Row and column of each object, (objects, 2) in [0, 1].
        angle: Direction of each object in radians, (objects,).
        num_frames: Number of positions.

    Returns:
        Row and column per object and frame, (objects, num_frames, 2) in [0, 1].
    """
    position = start.copy()
    velocity = STEP * np.stack([np.sin(angle), np.cos(angle)], 1)
    positions = np.empty((len(start), num_frames, 2))
    for i in range(num_frames):
        position = (position + velocity).clip(0, 1)
        velocity = np.where((position == 0) | (position == 1), -velocity, velocity)
        positions[:, i] = position
    return positions


def composite(objects: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Return frames with objects drawn on black. The brighter object wins where objects overlap.

    Args:
        objects: Grey images, (objects, height, width) uint8.
        corners: Row and column of the top left pixel per object and frame, (objects, frames, 2) integers.

    Returns:
        Frames, (frames, SIDE, SIDE) uint8.
    """
    count, height, width = objects.shape
    num_frames = corners.shape[1]
    layers = np.zeros((count, num_frames, SIDE, SIDE), np.uint8)
    windows = np.lib.stride_tricks.sliding_window_view(layers, (1, 1, height, width), writeable=True)
    index = np.arange(count)[:, None], np.arange(num_frames), corners[..., 0], corners[..., 1]
    windows[index] = objects[:, None, None, None]
    return layers.max(0)


def moving_clip(images: np.ndarray, num_frames: int, random: np.random.Generator) -> np.ndarray:
    """Return a clip of two random images with random starts and directions.

    Args:
        images: Grey images to choose from, (N, height, width) uint8, smaller than a frame.
        num_frames: Frames of the clip.
        random: Generator of the choice of images, starts and directions.

    Returns:
        Frames, (num_frames, SIDE, SIDE) uint8.
    """
    objects = images[random.integers(len(images), size=NUM_OBJECTS)]
    positions = bounce(random.random((NUM_OBJECTS, 2)), random.uniform(0, 2 * np.pi, NUM_OBJECTS), num_frames)
    corner_range = SIDE - np.array(images.shape[1:])
    return composite(objects, (corner_range * positions).astype(int))  # truncated, as in the released generator
