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
    """Write a file for each quality of images that is there, and one of the scans, once per person, beside them.

    Images of persons without a scan are left out, and counted in the summary that is returned.

    Args:
        source: Folder with F_3D_N/ and M_3D_N/ (neutral scans, mm), annotations/ and Subset_2D_FG2018/{HQ,LQ}/.

    Raises:
        FileNotFoundError: No images, or none with a scan.
        ValueError: A scan or its landmarks cannot be read.
    """
    source, out = Path(source), Path(out)
    qualities = [quality for quality in QUALITIES if (source / IMAGES / quality).is_dir()]
    if not qualities:
        raise FileNotFoundError(f'{source / IMAGES}: has neither of the folders {" and ".join(QUALITIES)}')
    scans: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    found, lines = {}, []
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
        found[quality] = images, boxes, subjects
        lines.append(
            f'{out / f"stirling_ESRC3D_{quality}.npz"}: {len(images)} images of {len(set(subjects))} persons; '
            f'left out, as there is no scan: {len(names) - len(images)}'
        )
    write_scans(out / SCANS, scans)
    for quality, (images, boxes, subjects) in found.items():
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
    """Scan and landmarks of a person, whose files spell the name in lower or in upper case."""
    folder = f'{subject[:1].upper()}_3D_N'
    files = []
    for place, suffix in ((source / folder, 'obj'), (source / 'annotations' / folder, 'lnd')):
        spellings = [place / f'{name}_N.{suffix}' for name in (subject.lower(), subject.upper())]
        files.append(next((path for path in spellings if path.is_file()), None))
    return None if None in files else (files[0], files[1])


def read_obj(path: Path) -> np.ndarray:
    """The vertices (N, 3) of a Wavefront file, which come before its texture coordinates."""
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
    """The seven points (7, 3) of an ``.lnd``: a name and x, y, z in each line.

    They are the right eye's outer and inner corner, the left eye's inner and outer one, the lower end of the nose, the
    right and the left corner of the mouth.
    """
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    rows = [_point(line.split()[1:4], path, i) for i, line in enumerate(lines, start=1) if line.strip()]
    if len(rows) != LANDMARKS:
        raise ValueError(f'{path}: has {len(rows)} landmarks, where {LANDMARKS} are expected')
    return np.array(rows)


def _point(words: list[str], path: Path, line: int) -> tuple[float, ...]:
    try:
        point = tuple(map(float, words))
    except ValueError:
        point = ()
    if len(point) != 3 or not np.isfinite(point).all():
        raise ValueError(f'{path}:{line}: expected three numbers, found {" ".join(words)[:60]!r}')
    return point
