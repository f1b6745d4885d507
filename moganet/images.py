"""Images that cannot be read: named, by whatever data set and process met them."""

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
    except (OSError, UnidentifiedImageError, SyntaxError, ValueError) as error:
        raise ValueError(f'{path} cannot be read as an image ({error}): replace or remove it') from error


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
