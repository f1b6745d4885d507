"""Images and label maps as people write them: what cannot be used is named, by the process that reads it."""

from pathlib import Path

import numpy as np
from mmcv.transforms import LoadImageFromFile
from mmseg.datasets.transforms import LoadAnnotations
from mmseg.registry import TRANSFORMS
from PIL import Image

from moganet.io.readable import require_readable

# One channel of 8 bits or less. A palette is no fault: Pillow reads the numbers that point into it.
MODES = ('L', 'P', '1')


@TRANSFORMS.register_module()
class CheckedImage(LoadImageFromFile):
    """MMCV's LoadImageFromFile, which names an image that cannot be read. It costs nothing while all can be."""

    def transform(self, results: dict) -> dict | None:
        try:
            return super().transform(results)
        except Exception:
            if not self.backend_args:
                require_readable(results['img_path'])
            raise


@TRANSFORMS.register_module()
class CheckedMap(LoadAnnotations):
    """mmseg's LoadAnnotations, which takes any picture for labels, with a look at what it has read.

    Args:
        num_classes: Labels are 0 to ``num_classes`` - 1, as the model sees them.
        ignore_index: The label of pixels that do not count.
        **kwargs: As for LoadAnnotations.

    Raises:
        FileNotFoundError: no such map.
        ValueError: it is no map of numbers of 8 bits, of another size than its image, or has labels of no class.
    """

    def __init__(self, num_classes: int, ignore_index: int = 255, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        self.ignore_index = ignore_index

    def _load_seg_map(self, results: dict) -> None:
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
            raise ValueError(self._stray(path, wrong.tolist(), results))

    def _stray(self, path: str, labels: list[int], results: dict) -> str:
        """What to say of labels that no class has, in the numbers of the file."""
        shift = int(bool(self.reduce_zero_label))
        found = ', '.join(str(label + shift) for label in labels[:5]) + (', ...' if len(labels) > 5 else '')
        meaning = f'reduce_zero_label={bool(self.reduce_zero_label)}'
        if shift:
            meaning += ': 0 is unlabelled and classes count from 1'
        known = results.get('label_map')
        top = (max(known) + 1 if known else self.num_classes) - 1 + shift
        hint = 'number the classes so, or name them all in metainfo.classes'
        if not shift and labels == [self.num_classes]:
            hint = 'if 0 is unlabelled and classes count from 1, set reduce_zero_label=True in each dataset'
        return (
            f'{path} has the label {found}, and the {self.num_classes} classes of the data set have {shift} to '
            f'{top} ({meaning}); {self.ignore_index} is ignored: {hint}'
        )


def check_header(path: str | Path, backend: str = 'pillow') -> None:
    """Look at the kind of a map's pixels without decoding them.

    Raises:
        FileNotFoundError: no such file.
        ValueError: it is no image, or not of one channel of 8 bits, or ``backend`` would read a palette's colours.
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
    """Raise ValueError if a map and its image, both (H, W), are of different sizes."""
    if tuple(shape[:2]) == tuple(image_shape[:2]):
        return
    turned = tuple(shape[:2]) == tuple(image_shape[1::-1])
    hint = ': the image is turned as its EXIF orientation says, and its map is not' if turned else ''
    raise ValueError(
        f'{path} has {shape[1]}x{shape[0]} pixels (width x height) and its image {image} '
        f'{image_shape[1]}x{image_shape[0]}: expected one label per pixel{hint or ""}'
    )
