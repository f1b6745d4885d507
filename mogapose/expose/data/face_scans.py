"""Files of face scans, which hold vertices and seven landmarks of each subject in millimetres."""

import functools
from pathlib import Path

import numpy as np

from .human_data import write_npz

LANDMARKS = 7


def write_scans(path: Path, scans: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Write face scans to a ``.npz`` file.

    Args:
        path: The file.
        scans: For each subject vertices (N, 3) and landmarks (7, 3), in millimetres.
    """
    content = {}
    for subject, (vertices, landmarks) in scans.items():
        content[f'{subject}_vertices'] = np.asarray(vertices, np.float32)
        content[f'{subject}_landmarks'] = np.asarray(landmarks, np.float32)
    write_npz(path, content)


def check_scans(path: Path, subjects: set[str]) -> None:
    """Check that a file of scans has the subjects, without reading their scans.

    Args:
        path: The file.
        subjects: Names of the subjects.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The file lacks a subject, or is no file of scans.
    """
    with _open(path) as archive:
        for subject in sorted(subjects):
            for part in ('vertices', 'landmarks'):
                if f'{subject}_{part}' not in archive:
                    raise ValueError(f'{path}: has no {subject}_{part}: is it of another conversion?')


# A few scans suffice, since images of one subject follow each other.
@functools.lru_cache(maxsize=4)
def read_scan(path: Path, subject: str) -> tuple[np.ndarray, np.ndarray]:
    """Read the scan of one subject.

    Args:
        path: The file.
        subject: Name of the subject.

    Returns:
        Vertices (N, 3) and landmarks (7, 3) in millimetres. The arrays are cached and must not be changed.

    Raises:
        FileNotFoundError: The file does not exist.
        ValueError: The scan cannot be read, has another shape, or holds NaN or infinite values.
    """
    with _open(path) as archive:
        try:
            vertices, landmarks = (archive[f'{subject}_{part}'] for part in ('vertices', 'landmarks'))
        except Exception as error:  # a damaged file may raise anything
            raise ValueError(f'{path}: the scan of {subject} is not readable ({error})') from None
    for name, array, rows in (('vertices', vertices, len(vertices)), ('landmarks', landmarks, LANDMARKS)):
        if array.dtype.kind != 'f' or array.shape != (rows, 3) or not np.isfinite(array).all() or not rows:
            raise ValueError(f'{path}: {subject}_{name} {array.shape} is no list of {rows or "some"} finite points')
    return vertices, landmarks


def _open(path: Path) -> np.lib.npyio.NpzFile:
    if not path.is_file():
        raise FileNotFoundError(f'{path}: no such file of scans; the converter of Stirling writes it beside the others')
    try:
        archive = np.load(path, allow_pickle=False)
    except Exception as error:
        raise ValueError(f'{path}: not a readable .npz ({error})') from None
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError(f'{path}: not a readable .npz')
    return archive
