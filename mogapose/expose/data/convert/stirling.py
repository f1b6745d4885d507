"""Stirling/ESRC 3D faces as prepared for the FG 2018 challenge: images of persons whose faces were scanned."""

import os
from pathlib import Path

import numpy as np

from moganet.io.images import read_bgr

from ...models.conventions import FACE3D_SLOTS
from ..face_scans import LANDMARKS, write_scans
from ..human_data import write_human_data

QUALITIES = ('HQ', 'LQ')
SCANS = 'stirling_scans.npz'
FILES = (*(f'stirling_ESRC3D_{quality}.npz' for quality in QUALITIES), SCANS)
IMAGES = 'Subset_2D_FG2018'


def convert(source: str | Path, out: str | Path) -> str:
    """Write a file for each quality of images that exists, and beside them one file with the scan of each person.

    Images of persons without a scan are left out.

    Args:
        source: Folder with F_3D_N/ and M_3D_N/ (neutral scans, mm), annotations/ and Subset_2D_FG2018/{HQ,LQ}/.
        out: Folder of the files to write.

    Returns:
        A summary, a line for each file, with the number of images that were left out.

    Raises:
        FileNotFoundError: There are no images, or none with a scan.
        ValueError: An image, a scan or its landmarks cannot be read.
    """
    source, out = Path(source), Path(out)
    qualities = [quality for quality in QUALITIES if (source / IMAGES / quality).is_dir()]
    if not qualities:
        raise FileNotFoundError(f'{source / IMAGES}: has neither of the folders {" and ".join(QUALITIES)}')
    scans: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    converted, lines = {}, []
    for quality in qualities:
        images, boxes, subjects = [], [], []
        names = sorted(os.listdir(source / IMAGES / quality))
        for name in names:
            subject = name.split('_')[0].upper()
            if subject not in scans:
                files = _files(source, name.split('_')[0])
                if files is None:
                    continue
                scans[subject] = read_obj(files[0]), read_landmarks(files[1])
            images.append(f'{IMAGES}/{quality}/{name}')
            height, width = read_bgr(source / images[-1]).shape[:2]
            boxes.append((0, 0, width - 1, height - 1))
            subjects.append(subject)
        if not images:
            raise FileNotFoundError(f'{source / IMAGES / quality}: {len(names)} images, none with a scan and landmarks')
        converted[quality] = images, boxes, subjects
        lines.append(
            f'{out / f"stirling_ESRC3D_{quality}.npz"}: {len(images)} images of {len(set(subjects))} persons; '
            f'left out, as there is no scan: {len(names) - len(images)}'
        )
    write_scans(out / SCANS, scans)
    for quality, (images, boxes, subjects) in converted.items():
        points = np.stack([scans[subject][1] for subject in subjects])
        write_human_data(
            out / f'stirling_ESRC3D_{quality}.npz',
            images,
            np.array(boxes),
            slots=FACE3D_SLOTS,
            keypoints3d=np.concatenate((points, np.ones((*points.shape[:2], 1))), -1),
            config=np.array('stirling'),
            subject=np.array(subjects),
            scan_file=np.array(SCANS),
        )
    return '\n'.join((*lines, f'{out / SCANS}: {len(scans)} scans'))


def _files(source: Path, subject: str) -> tuple[Path, Path] | None:
    """Return the files of a scan and its landmarks, which spell the name in lower or upper case; None if absent."""
    folder = f'{subject[:1].upper()}_3D_N'
    files = []
    for place, suffix in ((source / folder, 'obj'), (source / 'annotations' / folder, 'lnd')):
        spellings = [place / f'{name}_N.{suffix}' for name in (subject.lower(), subject.upper())]
        files += [path for path in spellings if path.is_file()][:1]
    return (files[0], files[1]) if len(files) == 2 else None


def read_obj(path: Path) -> np.ndarray:
    """Read the vertices of a Wavefront ``.obj`` file, which come before its texture coordinates.

    Args:
        path: The file.

    Returns:
        (N, 3) in the file's unit, millimetres in Stirling.

    Raises:
        ValueError: The file has no vertices, or a line is no point.
    """
    rows = []
    with open(path, encoding='utf-8', errors='replace') as file:
        for number, line in enumerate(file, start=1):
            if line.startswith('vt'):
                break
            if line.startswith('v '):
                rows.append(_point(line.split()[1:4], path, number))
    if not rows:
        raise ValueError(f'{path}: has no vertices')
    return np.array(rows)


def read_landmarks(path: Path) -> np.ndarray:
    """Read the seven landmarks of an ``.lnd`` file, which has a name and x, y, z in each line.

    They are the outer and inner corner of the right eye, the inner and outer corner of the left eye, the lower end of
    the nose, and the right and left corner of the mouth.

    Args:
        path: The file.

    Returns:
        (7, 3) in the file's unit, millimetres in Stirling.

    Raises:
        ValueError: The file has another number of landmarks, or a line is no point.
    """
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    rows = [_point(line.split()[1:4], path, i) for i, line in enumerate(lines, start=1) if line.strip()]
    if len(rows) != LANDMARKS:
        raise ValueError(f'{path}: has {len(rows)} landmarks, where {LANDMARKS} are expected')
    return np.array(rows)


def _point(words: list[str], path: Path, line: int) -> list[float]:
    try:
        point = [float(word) for word in words]
    except ValueError:
        point = []
    if len(point) != 3 or not np.isfinite(point).all():
        raise ValueError(f'{path}:{line}: expected three numbers, found {" ".join(words)[:60]!r}')
    return point
