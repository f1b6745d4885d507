"""Image files: listed from the paths of a command line, and named in the error if one cannot be read."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmengine.dataset import BaseDataset

SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.ppm', '.pgm', '.tif', '.tiff', '.webp')


def find_images(paths: Sequence[str]) -> list[Path]:
    """Return the files named by ``paths`` and, for each folder among them, the images below it, sorted.

    Raises:
        FileNotFoundError: a path does not exist, or a folder holds no images.
    """
    found = []
    for path in map(Path, paths):
        if not path.exists():
            raise FileNotFoundError(f'{path} does not exist')
        inside = sorted(p for p in path.rglob('*') if p.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
        if not inside:
            raise FileNotFoundError(f'{path} holds no images ({", ".join(SUFFIXES)})')
        found += inside
    return found


def require_readable(path: str | Path) -> None:
    """Check that an image file can be decoded to its end.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file cannot be decoded. The message names it.
    """
    from PIL import Image, UnidentifiedImageError

    if not Path(path).is_file():
        raise FileNotFoundError(f'image {path} does not exist')
    try:
        with Image.open(path) as image:
            image.load()
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f'{path} cannot be read as an image ({error}): replace or remove it') from error


def require_files(paths: Sequence[str], named_by: str) -> None:
    """Check that files exist, by one listing per folder, which is much faster than a look at each file.

    Args:
        paths: The files. If the first one is an address, nothing is checked.
        named_by: The annotation file that names them, for the message.

    Raises:
        FileNotFoundError: files are missing. The message names the first and counts them.
    """
    if any('://' in path for path in paths[:1]):
        return
    folders = {os.path.dirname(path) for path in paths}
    found = {folder: set(os.listdir(folder)) if os.path.isdir(folder) else set() for folder in folders}
    missing = [path for path in paths if os.path.basename(path) not in found[os.path.dirname(path)]]
    if missing:
        raise FileNotFoundError(
            f'{missing[0]} does not exist; {named_by} names {len(missing)} such of {len(paths)} images: '
            "look at the dataset's data_prefix.img, or remove them from the file"
        )


class NamesBrokenImages(BaseDataset):
    """Mixin of MMEngine's data sets: if a broken image makes the pipeline fail, the error names the file.

    The file is checked only after an exception, so that good images cost nothing.
    """

    def prepare_data(self, idx: int) -> Any:
        """Return a sample after the pipeline.

        Raises:
            ValueError: the image cannot be decoded. Any other exception of the pipeline passes through.
        """
        try:
            return super().prepare_data(idx)
        except Exception:
            require_readable(self.get_data_info(idx)['img_path'])
            raise
