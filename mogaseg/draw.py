"""Figures of segmentation: label maps over images, with a legend of names and colours."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Patch

from moganet.io.figures import new_figure, save_figure

Colours = Sequence[Sequence[int]]  # RGB, 0 to 255, per class
Triple = tuple[np.ndarray, np.ndarray, np.ndarray]  # image (H, W, 3) uint8, true and predicted labels (H, W)
OPACITY = 0.8
# Longer legends are hard to read: only the largest classes are named.
MAX_NAMED = 16


def overlay(image: np.ndarray, labels: np.ndarray, palette: Colours) -> np.ndarray:
    """Colour an image by its labels. Pixels of labels outside the palette do not change.

    Args:
        image: RGB image, (H, W, 3) uint8.
        labels: Class of each pixel, (H, W).
        palette: RGB, 0 to 255, of each class.

    Returns:
        RGB image, (H, W, 3) uint8.
    """
    in_palette = labels < len(palette)
    picture = image.astype(np.float32)
    picture[in_palette] += OPACITY * (np.asarray(palette, np.float32)[labels[in_palette]] - picture[in_palette])
    return picture.round().astype(np.uint8)


def fractions(labels: np.ndarray, classes: Sequence[str]) -> list[tuple[int, float]]:
    """Return (class, fraction of the pixels) of the classes that occur in labels (H, W), largest first."""
    counts = np.bincount(labels.ravel(), minlength=len(classes))[: len(classes)]
    return [(int(i), counts[i] / labels.size) for i in np.argsort(-counts, kind='stable') if counts[i]]


def draw_labels(
    image: np.ndarray, labels: np.ndarray, classes: Sequence[str], palette: Colours, path: str | Path
) -> Path:
    """Write an image and, beside it, its labels with names and fractions of the classes.

    Args:
        image: RGB image, (H, W, 3) uint8.
        labels: Class of each pixel, (H, W).
        classes: Names of the labels.
        palette: RGB, 0 to 255, of each class.
        path: File to write.

    Returns:
        The path written.
    """
    largest = fractions(labels, classes)[:MAX_NAMED]
    height = max(3.0, 5 * image.shape[0] / image.shape[1])
    figure = new_figure(13, height)
    for axes, picture in zip(figure.subplots(1, 2), (image, overlay(image, labels, palette)), strict=True):
        _show(axes, picture)
    names = [(f'{classes[label]}  {_percent(fraction)}', palette[label]) for label, fraction in largest]
    figure.legend(handles=_patches(names), loc='outside right center', frameon=False, fontsize=11)
    return save_figure(figure, path)


def draw_comparison(
    triples: Sequence[Triple],
    classes: Sequence[str],
    palette: Colours,
    path: str | Path,
) -> Path:
    """Write rows of two images, each with its true and its predicted labels, under one legend.

    Args:
        triples: Images (H, W, 3) uint8 with true and predicted labels (H, W).
        classes: Names of the labels.
        palette: RGB, 0 to 255, of each class.
        path: File to write.

    Returns:
        The path written.
    """
    rows = -(-len(triples) // 2)
    figure = new_figure(15, 2.6 * rows + 0.8)
    cells = figure.subplots(rows, 7, squeeze=False, width_ratios=(1, 1, 1, 0.1, 1, 1, 1))  # a gap in the middle
    for axes in cells.flat:
        axes.set_axis_off()
    for i, (image, truth, predicted) in enumerate(triples):
        pictures = image, overlay(image, truth, palette), overlay(image, predicted, palette)
        first = 4 * (i % 2)
        shown = zip(cells[i // 2, first : first + 3], pictures, ('photograph', 'truth', 'prediction'), strict=True)
        for axes, picture, title in shown:
            _show(axes, picture)
            axes.set_title(title, fontsize=10)
    handles = _patches(list(zip(classes, palette, strict=True))[:MAX_NAMED])
    figure.legend(
        handles=handles,
        loc='outside upper center',
        ncols=len(handles),
        frameon=False,
        fontsize=11,
        columnspacing=1.2,
        handlelength=1.4,
    )
    return save_figure(figure, path)


def describe(labels: np.ndarray, classes: Sequence[str]) -> str:
    """Return the classes of labels (H, W) with their fractions as text, such as 'background 81 %, seven 6 %'."""
    largest = fractions(labels, classes)[:MAX_NAMED]
    return ', '.join(f'{classes[label]} {_percent(fraction)}' for label, fraction in largest)


def _percent(fraction: float) -> str:
    return f'{100 * fraction:.0f} %' if fraction >= 0.01 else '< 1 %'


def _patches(entries: Sequence[tuple[str, Sequence[int]]]) -> list[Patch]:
    """Return the patches of a legend for (name, colour)."""
    return [
        Patch(facecolor=(red / 255, green / 255, blue / 255), edgecolor='black', linewidth=0.5, label=name)
        for name, (red, green, blue) in entries
    ]


def _show(axes: Axes, picture: np.ndarray) -> None:
    axes.imshow(picture)
    axes.set_axis_off()
