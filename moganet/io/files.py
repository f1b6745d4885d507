"""Folders that appear whole or not at all, and never in the place of something else."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def whole_folder(root: str | Path) -> Iterator[Path]:
    """Yield a folder to write into that becomes ``root`` at the end. Of several processes, the first one's stays.

    Raises:
        ValueError: there is something at ``root``, which is left as it is.
    """
    root = Path(root)
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise ValueError(f'{root} exists and is something else, or not whole: remove it or choose another folder')
    partial = root.with_name(f'{root.name}.{os.getpid()}.part')
    partial.mkdir(parents=True)
    try:
        yield partial
        with contextlib.suppress(OSError):  # another process was first: what it wrote is the same
            os.rename(partial, root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
