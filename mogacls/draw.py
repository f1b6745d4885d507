"""Figures of classification: an image with its likeliest classes, grids of predictions, the confusion matrix."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib
import numpy as np
from PIL import Image

from moganet.io.figures import new_figure, save_figure

GOOD, BAD, BAR = '#2a7f3f', '#c0392b', '#3b6ea5'


def draw_top5(image: str | Path, scores: Sequence[float], classes: Sequence[str], path: str | Path) -> Path:
    """Write an image and, beside it, bars of its five likeliest classes.

    Args:
        image: File of the image.
        scores: Probability of each class.
        classes: Names of the classes.
        path: File to write.

    Returns:
        The path written.
    """
    probabilities = np.asarray(scores)
    top = np.argsort(-probabilities)[:5]
    figure = new_figure(8, 3.4)
    picture, bars = figure.subplots(1, 2, width_ratios=(1, 1.3))
    with Image.open(image) as file:
        picture.imshow(np.asarray(file.convert('RGB')), interpolation='nearest')
    picture.set_axis_off()
    picture.set_title(Path(image).name, fontsize=9)
    bars.barh(range(len(top)), probabilities[top], color=BAR)
    bars.set_yticks(range(len(top)), [classes[i] for i in top])
    bars.invert_yaxis()
    bars.set_xlim(0, 1)
    for row, index in enumerate(top):
        score = probabilities[index]
        bars.text(min(score + 0.02, 0.86), row, f'{score:.1%}', va='center', fontsize=9)
    bars.set_xlabel('probability')
    for side in ('top', 'right'):
        bars.spines[side].set_visible(False)
    return save_figure(figure, path)


def draw_grid(
    images: Sequence[str | Path],
    predicted: Sequence[int],
    truth: Sequence[int],
    scores: Sequence[float],
    classes: Sequence[str],
    path: str | Path,
    columns: int = 8,
) -> Path:
    """Write a grid of images with predicted class and probability; the title of an error is red and names both classes.

    Args:
        images: Files of the images.
        predicted: Predicted label of each image.
        truth: True label of each image.
        scores: Probability of each predicted label.
        classes: Names of the labels.
        path: File to write.
        columns: Images per row.

    Returns:
        The path written.
    """
    rows = -(-len(images) // columns)
    figure = new_figure(columns * 1.3, rows * 1.6)
    cells = list(figure.subplots(rows, columns, squeeze=False).flat)
    for cell in cells:
        cell.set_axis_off()
    for cell, image, label, true_label, score in zip(cells, images, predicted, truth, scores, strict=False):
        with Image.open(image) as file:
            cell.imshow(np.asarray(file.convert('RGB')), interpolation='nearest')
        correct = label == true_label
        names = classes[label] if correct else f'{classes[label]}, is {classes[true_label]}'
        cell.set_title(f'{names}  {score:.0%}', fontsize=9, color=GOOD if correct else BAD)
    return save_figure(figure, path)


def draw_confusion(matrix: np.ndarray, classes: Sequence[str], path: str | Path) -> Path:
    """Write the confusion matrix with its counts: rows are true classes, columns are predicted classes.

    Args:
        matrix: Counts, (classes, classes).
        classes: Names in the order of ``matrix``.
        path: File to write.

    Returns:
        The path written.
    """
    matrix = np.asarray(matrix)
    side = max(4.0, 0.5 * len(classes) + 1.2)
    figure = new_figure(side, side)
    axes = figure.subplots()
    fractions = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(fractions, cmap=matplotlib.colormaps['Blues'], vmin=0, vmax=1)
    axes.set_xticks(range(len(classes)), classes)
    axes.set_yticks(range(len(classes)), classes)
    axes.set_xlabel('predicted')
    axes.set_ylabel('true')
    for (row, column), value in np.ndenumerate(matrix):
        if value:
            color = 'white' if fractions[row, column] > 0.5 else BAD if row != column else 'black'
            axes.text(column, row, str(int(value)), ha='center', va='center', color=color, fontsize=9)
    correct = np.trace(matrix)
    axes.set_title(f'{correct:.0f} of {matrix.sum():.0f} right ({correct / max(matrix.sum(), 1):.1%})', fontsize=10)
    return save_figure(figure, path)
