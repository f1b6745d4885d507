"""Files and folders that appear complete or not at all."""

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic(path: str | os.PathLike) -> Iterator[Path]:
    """Yield the path of a partial file beside ``path``; move it to ``path`` at the end, or remove it on an error.

    A reader never sees half a file, and an existing file stays until its replacement is complete. The folder must
    exist. Processes that write the same file at once do not disturb each other; the last one wins.
    """
    path = Path(path)
    partial = path.with_name(f'{path.name}.{os.getpid()}.partial')
    try:
        yield partial
        with partial.open('r+b') as file:  # the content reaches the disk before the name does
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_directory(root: str | os.PathLike) -> Iterator[Path]:
    """Yield a folder beside ``root`` to write into; rename it to ``root`` at the end, or remove it on an error.

    Several processes may write the same content at once: the folder of the first one stays.

    Raises:
        ValueError: ``root`` is a file or a folder with content. It is left as it is.
    """
    root = Path(root)
    if root.exists() and not (root.is_dir() and not any(root.iterdir())):
        raise ValueError(f'{root} exists and is something else, or not whole: remove it or choose another folder')
    partial = root.with_name(f'{root.name}.{os.getpid()}.part')
    partial.mkdir(parents=True)
    try:
        yield partial
        with contextlib.suppress(OSError):  # another process was first and wrote the same content
            os.rename(partial, root)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
