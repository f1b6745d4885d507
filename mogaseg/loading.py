"""Checked loading of users' images and label maps: the reading process names a file that cannot be used."""

from pathlib import Path
from typing import Any

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image

from moganet.io.readable import require_readable

# Pillow's modes of one channel of at most 8 bits. Images with a palette (P) are valid: Pillow reads their indices.
MODES = ('L', 'P', '1')


@TRANSFORMS.register_module()
class CheckedImage(LoadImageFromFile):
    """LoadImageFromFile of mmcv that names an image that cannot be read. Readable images cost no extra time."""

    def transform(self, results: dict) -> dict | None:
        """Read the image at ``img_path``.

        Raises:
            FileNotFoundError: the image does not exist.
            ValueError: the image cannot be read.
        """
        try:
            return super().transform(results)
        except Exception:
            if not self.backend_args:
                require_readable(results['img_path'])
            raise


@TRANSFORMS.register_module()
class CheckedMap(LoadAnnotations):
    """LoadAnnotations of mmseg that checks the labels (the original accepts any image).

    Args:
        num_classes: Number of classes; the model reads labels from 0 to ``num_classes`` - 1.
        ignore_index: Label of pixels without loss.
        **kwargs: Arguments of LoadAnnotations.

    Raises:
        FileNotFoundError: the map does not exist.
        ValueError: the map has no 8-bit labels, has another size than its image, or has labels outside the classes.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def _load_seg_map(self, results: dict) -> None:
        """Read and check the map at ``seg_map_path``. mmseg's ``transform`` calls this."""
        path = results['seg_map_path']
        if not self.backend_args:
            check_header(path, self.imdecode_backend)
        try:
            super()._load_seg_map(results)
        except OSError:
            if not self.backend_args:
                require_readable(path)
            raise
        labels = results['gt_seg_map']
        # The transforms before this one may have resized the image, never the map.
        check_size(path, labels.shape, results['img_path'], results['ori_shape'])
        if ((labels >= self.num_classes) & (labels != self.ignore_index)).any():
            wrong = np.unique(labels[(labels >= self.num_classes) & (labels != self.ignore_index)])
            raise ValueError(self._describe_wrong(path, wrong.tolist(), results))

    def _describe_wrong(self, path: str, labels: list[int], results: dict) -> str:
        """Return the error for labels outside the classes, in the numbering of the file."""
        shift = int(bool(self.reduce_zero_label))
        listed = ', '.join(str(label + shift) for label in labels[:5]) + (', ...' if len(labels) > 5 else '')
        meaning = f'reduce_zero_label={bool(self.reduce_zero_label)}'
        if shift:
            meaning += ': 0 is unlabelled and classes count from 1'
        label_map = results.get('label_map')
        last = (max(label_map) + 1 if label_map else self.num_classes) - 1 + shift
        hint = 'number the classes so, or name them all in metainfo.classes'
        if not shift and labels == [self.num_classes]:
            hint = 'if 0 is unlabelled and classes count from 1, set reduce_zero_label=True in each dataset'
        return (
            f'{path} has the label {listed}, and the {self.num_classes} classes of the data set have {shift} to '
            f'{last} ({meaning}); {self.ignore_index} is ignored: {hint}'
        )


def check_header(path: str | Path, backend: str = 'pillow') -> None:
    """Check the pixel format of a map without decoding its pixels.

    Args:
        path: File of the map.
        backend: The decoder, 'pillow' or 'cv2' as in ``imdecode_backend``.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is no image, has no single 8-bit channel, or ``backend`` would read a palette's colours.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f'segmentation map {path} does not exist')
    try:
        with Image.open(path) as image:
            mode = image.mode
    except (OSError, SyntaxError):
        require_readable(path)
        raise
    if mode == 'P' and backend == 'cv2':
        raise ValueError(
            f"{path} has a palette, and imdecode_backend='cv2' reads its colours, not the numbers of the "
            'classes: leave imdecode_backend of LoadAnnotations out'
        )
    if mode.startswith(('I', 'F')):
        raise ValueError(
            f'{path} has more than 8 bits per pixel (mode {mode}), and labels end at 255: save it as an '
            "8-bit PNG, as in Image.fromarray(labels.astype('uint8')).save(path)"
        )
    if mode not in MODES:
        raise ValueError(
            f'{path} holds colours (mode {mode}): expected one channel with the number of the class of '
            'each pixel (mode L), or a palette (mode P)'
        )


def check_size(path: str | Path, shape: tuple[int, ...], image: str | Path, image_shape: tuple[int, ...]) -> None:
    """Check that a map and its image have the same size.

    Args:
        path: File of the map, for the message.
        shape: (H, W, ...) of the map.
        image: File of the image, for the message.
        image_shape: (H, W, ...) of the image.

    Raises:
        ValueError: the sizes differ.
    """
    if tuple(shape[:2]) == tuple(image_shape[:2]):
        return
    transposed = tuple(shape[:2]) == tuple(image_shape[1::-1])
    hint = ': the image is turned as its EXIF orientation says, and its map is not' if transposed else ''
    raise ValueError(
        f'{path} has {shape[1]}x{shape[0]} pixels (width x height) and its image {image} '
        f'{image_shape[1]}x{image_shape[0]}: expected one label per pixel{hint}'
    )
