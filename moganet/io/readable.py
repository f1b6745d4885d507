"""Images that cannot be read: named, by whatever data set and process met them."""

import os
from collections.abc import Sequence
from pathlib import Path


def require_readable(path: str | Path) -> None:
    """Raise ValueError, naming the file, if ``path`` is no image that can be decoded whole.

    Raises:
        FileNotFoundError: no such file.
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
    """Raise FileNotFoundError if images are missing: one listing per folder, cheap where a look at each file is not.

    Args:
        paths: Files; where the first one is an address, nothing is looked at.
        named_by: The annotation file that names them, for the message.
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


class NamesBrokenImages:
    """For data sets of MMEngine's kind: whatever a broken image makes a pipeline raise, the error names the file.

    It looks at the file only after something was raised, in the process that loads it, so that it costs nothing.
    """

    def prepare_data(self, idx: int) -> dict:
        try:
            return super().prepare_data(idx)
        except Exception:
            require_readable(self.get_data_info(idx)['img_path'])
            raise
