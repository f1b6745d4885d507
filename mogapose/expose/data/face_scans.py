"""Files of face scans: vertices and seven landmarks of each subject, in millimetres, read one at a time."""

import functools
from pathlib import Path

import numpy as np

from .human_data import write_npz

LANDMARKS = 7


def write_scans(path: Path, scans: dict[str, tuple[np.ndarray, np.ndarray]]) -> None:
    """Write vertices (N, 3) and landmarks (7, 3) by subject to a ``.npz``."""
    content = {}
    for subject, (vertices, landmarks) in scans.items():
        content[f'{subject}_vertices'] = np.asarray(vertices, np.float32)
        content[f'{subject}_landmarks'] = np.asarray(landmarks, np.float32)
    write_npz(path, content)


def check_scans(path: Path, subjects: set[str]) -> None:
    """Look for the subjects in a file of scans, without reading them.

    Raises:
        FileNotFoundError: No such file.
        ValueError: It lacks a subject, or is none.
    """
    with _open(path) as archive:
        for subject in sorted(subjects):
            for part in ('vertices', 'landmarks'):
                if f'{subject}_{part}' not in archive:
                    raise ValueError(f'{path}: has no {subject}_{part}: is it of another conversion?')


# Images of one subject follow each other.
@functools.lru_cache(maxsize=4)
def read_scan(path: Path, subject: str) -> tuple[np.ndarray, np.ndarray]:
    """Vertices (N, 3) and landmarks (7, 3) of one subject. Leave them as they are: they are kept.

    Raises:
        ValueError: Other shapes, NaN, no numbers.
    """
    with _open(path) as archive:
        try:
            vertices, landmarks = (archive[f'{subject}_{part}'] for part in ('vertices', 'landmarks'))
        except Exception as error:  # a damaged file fails in any way it likes
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
