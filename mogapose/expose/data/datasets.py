"""The data set of ExPose, which reads images of hands, faces and bodies from a HumanData file."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from moganet.io.readable import NamesBrokenImages, require_files

from ..models.conventions import FACE3D_SLOTS, HAND_SLOTS, SLOTS
from ..registry import DATASETS
from .face_scans import check_scans, read_scan
from .human_data import COLUMNS, PARAMETERS, HumanData

# The parameters on which each body model is trained, and the default numbers of its coefficients.
FIELDS: dict[str, tuple[str, ...]] = dict(
    mano=('global_orient', 'right_hand_pose', 'betas'),
    flame=('global_orient', 'jaw_pose', 'betas', 'expression'),
    smplx=tuple(PARAMETERS),
)
BETAS = dict(mano=10, flame=100, smplx=10)
EXPRESSION = dict(mano=0, flame=50, smplx=10)
LEFT_HAND_SLOTS = (20, *range(25, 40), *range(66, 71))
RIGHT_HANDS = "convention 'mano' is of right hands: mirror images, key points and poses first"


@DATASETS.register_module()
class HumanDataDataset(NamesBrokenImages, BaseDataset):
    """Images with a box, key points and parameters of a body model, from a HumanData ``.npz``.

    A sample has ``img_path``, ``dataset``, ``convention``, ``center`` and ``scale`` (2,) of a square in pixels,
    ``keypoints2d`` (K, 3), ``keypoints3d`` (K, 4) and the parameters of its convention (axis-angle, in radians). Fields
    that the file lacks are zero, and their flag ``has_<name>`` is 0. Test sets of hands also have ``gt_vertices``
    (778, 3) and ``gt_joints`` (21, 3) in metres. Test sets of faces also have ``scan_vertices`` (N, 3) and
    ``scan_landmarks`` (7, 3) in millimetres.

    Args:
        ann_file: The ``.npz``, below ``data_root``.
        convention: 'mano' for right hands in FreiHAND's order of joints, 'flame' or 'smplx'.
        data_root: Folder of the data set.
        data_prefix: dict(img=FOLDER), the folder below ``data_root`` to which the paths in the file are relative.
        num_betas: Number of the file's shape coefficients to use, that of the body model by default.
        num_expression: Number of the file's expression coefficients to use, that of the body model by default.
        options: Arguments of BaseDataset such as pipeline, test_mode and indices.

    Raises:
        FileNotFoundError: The file or an image that it names does not exist.
        ValueError: An argument or the file does not fit: a missing key, another number of joints, left hands, NaN.
    """

    def __init__(
        self,
        ann_file: str,
        convention: str,
        data_root: str = '',
        data_prefix: dict | None = None,
        num_betas: int | None = None,
        num_expression: int | None = None,
        **options: Any,
    ) -> None:
        if convention not in SLOTS:
            raise ValueError(f'convention={convention!r}: expected {", ".join(SLOTS)}')
        data_prefix = dict(dict(img=''), **(data_prefix or {}))
        if set(data_prefix) != {'img'}:
            raise ValueError(f'data_prefix={data_prefix}: expected dict(img=FOLDER)')
        self.convention = convention
        self.num_betas = BETAS[convention] if num_betas is None else num_betas
        self.num_expression = EXPRESSION[convention] if num_expression is None else num_expression
        # The truth of test sets is stored here once, and not in every sample's record.
        self._vertices = np.zeros(0, np.float32)
        self._scans: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._scan_file: Path | None = None
        super().__init__(ann_file=ann_file, data_root=data_root, data_prefix=data_prefix, **options)

    def load_data_list(self) -> list[dict]:
        """Read the file and return a dict for each image.

        Raises:
            FileNotFoundError: The file or an image that it names does not exist.
            ValueError: The file does not fit.
        """
        with HumanData(self.ann_file) as data:
            images = [os.path.join(self.data_prefix['img'], path) for path in data.image_paths]
            labels, flags = self._labels(data)
            columns = labels | self._truth(data)
            boxes = data.boxes().astype(np.float64)
        require_files(images, self.ann_file)
        columns['center'] = boxes[:, :2] + boxes[:, 2:] / 2
        columns['scale'] = np.repeat(boxes[:, 2:].max(1, keepdims=True), 2, 1)
        shared = dict(dataset=Path(self.ann_file).stem, convention=self.convention, **flags)
        return [
            dict(shared, img_path=path, **{name: values[i] for name, values in columns.items()})
            for i, path in enumerate(images)
        ]

    def get_data_info(self, idx: int) -> dict:
        """Return the fields of a sample; the class lists them.

        Args:
            idx: Number of the sample.

        Raises:
            ValueError: The scan of a face cannot be read.
        """
        info = super().get_data_info(idx)
        if 'gt_index' in info:
            info['gt_vertices'] = self._vertices[info['gt_index']]
        subject = info.get('subject')
        if subject is not None:
            scan = self._scans[subject] if self._scan_file is None else read_scan(self._scan_file, subject)
            info['scan_vertices'], info['scan_landmarks'] = scan
        return info

    def _labels(self, data: HumanData) -> tuple[dict[str, np.ndarray], dict[str, float]]:
        """Return key points and parameters of all images, and the flags ``has_<name>``."""
        count, slots = data.count, SLOTS[self.convention]
        labels: dict[str, np.ndarray] = {}
        flags: dict[str, float] = {}
        for key, width in COLUMNS.items():
            # In a file with scans the 3D key points are the scan's landmarks, in millimetres, and no labels.
            present = key in data.keys and not (key == 'keypoints3d' and self._has_scans(data))
            if present:
                _check_joints(data, key, self.convention)
            labels[key] = data.keypoints(key, slots) if present else np.zeros((count, len(slots), width), np.float32)
            flags[f'has_{key}'] = float(present)
        parameters = data.parameters()
        if self.convention == 'mano' and 'left_hand_pose' in parameters and 'right_hand_pose' not in parameters:
            raise ValueError(f'{data.path}: smplx has left_hand_pose alone; {RIGHT_HANDS}')
        for name in FIELDS[self.convention]:
            labels[name] = self._parameter(data, name, parameters.get(name))
            flags[f'has_{name}'] = float(name in parameters)
        if not (self.test_mode or flags['has_keypoints2d'] or parameters):
            raise ValueError(f'{data.path}: has neither keypoints2d nor smplx: there is nothing to train on')
        return labels, flags

    def _parameter(self, data: HumanData, name: str, values: np.ndarray | None) -> np.ndarray:
        """Return a parameter of all images with the wanted number of coefficients, zeros if the file lacks it."""
        size = dict(betas=self.num_betas, expression=self.num_expression).get(name)
        if values is None:
            shape = [length or 0 for length in PARAMETERS[name]] if size is None else [size]
            return np.zeros((data.count, *shape), np.float32)
        if size is None:
            return values
        if values.shape[1] < size:
            raise ValueError(f'{data.path}: smplx.{name} has {values.shape[1]} numbers, where {size} are expected')
        return values[:, :size]

    def _has_scans(self, data: HumanData) -> bool:
        return self.convention == 'flame' and ('subject' in data.keys or 'vertices' in data.keys)

    def _truth(self, data: HumanData) -> dict[str, np.ndarray | Sequence[str]]:
        """Return the truth of test sets: vertices and joints of hands, the subjects of scans."""
        if self.convention == 'mano' and 'gt_vertices' in data.keys:
            self._vertices = data.array('gt_vertices', (None, 778, 3))
            index = np.arange(data.count)
            if 'gt_index' in data.keys:
                index = data.array('gt_index', (data.count,)).astype(int)
            if index.min() < 0 or index.max() >= len(self._vertices):
                raise ValueError(f'{data.path}: gt_vertices has {len(self._vertices)} rows, too few for its images')
            return dict(gt_index=index, gt_joints=data.keypoints('keypoints3d', HAND_SLOTS)[..., :3])
        if not self._has_scans(data):
            return {}
        if 'subject' in data.keys:
            name = data.texts('scan_file')[0]
            if Path(name).name != name:
                raise ValueError(f'{data.path}: scan_file is {name!r}, where the name of a file beside it is expected')
            self._scan_file = data.path.with_name(name)
            subjects = data.texts('subject')
            check_scans(self._scan_file, set(subjects))
            return dict(subject=subjects)
        landmarks = data.keypoints('keypoints3d', FACE3D_SLOTS)[..., :3]
        subjects = []
        # MMHuman3D's files hold one copy of a scan for each image; equal scans are stored once.
        for vertices, points in zip(data.objects('vertices', (None, 3)), landmarks, strict=True):
            subjects.append(hashlib.sha256(vertices.tobytes() + points.tobytes()).hexdigest())
            self._scans.setdefault(subjects[-1], (vertices, points))
        return dict(subject=subjects)


def _check_joints(data: HumanData, key: str, convention: str) -> None:
    """Refuse a file that lacks joints of a convention. Bodies need only some of their joints."""
    mask, slots = data.mask(key), list(SLOTS[convention])
    present = int(mask[slots].sum())
    if present == len(slots) or (present and convention == 'smplx'):
        return
    if convention == 'mano' and mask[list(LEFT_HAND_SLOTS)].any() and not present:
        raise ValueError(f'{data.path}: {key} are those of left hands; {RIGHT_HANDS}')
    raise ValueError(
        f'{data.path}: {key} has {present} of the {len(slots)} joints of convention {convention!r}: is it of another '
        'part of the body? Joints that are not known are written with confidence 0'
    )
