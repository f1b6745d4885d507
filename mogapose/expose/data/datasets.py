"""The data set of ExPose: crops of hands, faces and bodies from a HumanData file."""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dataset import BaseDataset

from moganet.io.readable import NamesBrokenImages, require_files

from ..models.conventions import FACE3D_SLOTS, HAND_SLOTS, SLOTS
from ..registry import DATASETS
from .face_scans import check_scans, read_scan
from .human_data import COLUMNS, PARAMETERS, HumanData

# What each body model is trained on, and how many blend shapes it has unless a config says otherwise.
FIELDS = dict(
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
    ``keypoints2d`` (K, 3), ``keypoints3d`` (K, 4) and the parameters of its convention (axis-angle); what the file
    lacks is zero, and ``has_<name>`` tells 0. Test sets of hands also have ``gt_vertices`` (778, 3) and ``gt_joints``
    (21, 3) in metres, those of faces ``scan_vertices`` (N, 3) and ``scan_landmarks`` (7, 3) in millimetres.

    Args:
        ann_file: The ``.npz``, below ``data_root``.
        convention: 'mano' for right hands in FreiHAND's order of joints, 'flame' or 'smplx'.
        data_prefix: dict(img=FOLDER): where the paths in the file start, below ``data_root``.
        num_betas, num_expression: How many of the file's coefficients are taken; the body model's by default.
        options: BaseDataset's: pipeline, test_mode, indices ...

    Raises:
        FileNotFoundError: the file or an image that it names is missing.
        ValueError: the file does not fit: a missing key, another number of joints, left hands, NaN.
    """

    def __init__(
        self,
        ann_file: str,
        convention: str,
        data_root: str = '',
        data_prefix: dict | None = None,
        num_betas: int | None = None,
        num_expression: int | None = None,
        **options,
    ) -> None:
        if convention not in SLOTS:
            raise ValueError(f'convention={convention!r}: expected {", ".join(SLOTS)}')
        data_prefix = dict(dict(img=''), **(data_prefix or {}))
        if set(data_prefix) != {'img'}:
            raise ValueError(f'data_prefix={data_prefix}: expected dict(img=FOLDER)')
        self.convention = convention
        self.num_betas = BETAS[convention] if num_betas is None else num_betas
        self.num_expression = EXPRESSION[convention] if num_expression is None else num_expression
        # What predictions are compared with is kept here once, and not in every sample's record.
        self._vertices = np.zeros(0, np.float32)
        self._scans: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        self._scan_file: Path | None = None
        super().__init__(ann_file=ann_file, data_root=data_root, data_prefix=data_prefix, **options)

    def load_data_list(self) -> list[dict]:
        with HumanData(self.ann_file) as data:
            images = [os.path.join(self.data_prefix['img'], path) for path in data.image_paths]
            columns = self._labels(data) | self._truth(data)
            boxes = data.boxes().astype(np.float64)
        require_files(images, self.ann_file)
        shared = dict(dataset=Path(self.ann_file).stem, convention=self.convention)
        shared |= {name: value for name, value in columns.items() if name.startswith('has_')}
        columns = {name: value for name, value in columns.items() if name not in shared}
        return [
            dict(
                shared,
                img_path=path,
                center=box[:2] + box[2:] / 2,
                scale=np.repeat(box[2:].max(), 2),
                **{name: values[i] for name, values in columns.items()},
            )
            for i, (path, box) in enumerate(zip(images, boxes, strict=True))
        ]

    def get_data_info(self, idx: int) -> dict:
        info = super().get_data_info(idx)
        if 'gt_index' in info:
            info['gt_vertices'] = self._vertices[info['gt_index']]
        subject = info.get('subject')
        if subject is not None:
            scan = self._scans[subject] if self._scan_file is None else read_scan(self._scan_file, subject)
            info['scan_vertices'], info['scan_landmarks'] = scan
        return info

    def _labels(self, data: HumanData) -> dict[str, np.ndarray | float]:
        """Key points and parameters, with their flags."""
        count, slots = data.count, SLOTS[self.convention]
        found = {}
        for key, width in COLUMNS.items():
            # Those of a face with a scan are the scan's, in millimetres.
            there = key in data.keys and not (key == 'keypoints3d' and self._has_scans(data))
            if there:
                _check_joints(data, key, self.convention)
            found[key] = data.keypoints(key, slots) if there else np.zeros((count, len(slots), width), np.float32)
            found[f'has_{key}'] = float(there)
        parameters = data.parameters()
        if self.convention == 'mano' and 'left_hand_pose' in parameters and 'right_hand_pose' not in parameters:
            raise ValueError(f'{data.path}: smplx has left_hand_pose alone; {RIGHT_HANDS}')
        for name in FIELDS[self.convention]:
            size = dict(betas=self.num_betas, expression=self.num_expression).get(name)
            values = parameters.get(name)
            found[f'has_{name}'] = float(values is not None)
            if values is None:
                values = np.zeros((count, *(PARAMETERS[name] if size is None else (size,))), np.float32)
            elif size is not None:
                if values.shape[1] < size:
                    have = values.shape[1]
                    raise ValueError(f'{data.path}: smplx.{name} has {have} numbers, where {size} are expected')
                values = values[:, :size]
            found[name] = values
        if not (self.test_mode or found['has_keypoints2d'] or parameters):
            raise ValueError(f'{data.path}: has neither keypoints2d nor smplx: there is nothing to train on')
        return found

    def _has_scans(self, data: HumanData) -> bool:
        return self.convention == 'flame' and ('subject' in data.keys or 'vertices' in data.keys)

    def _truth(self, data: HumanData) -> dict[str, np.ndarray | Sequence[str]]:
        """What predictions are compared with: vertices and joints of hands, the subjects of scans."""
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
        # MMHuman3D's files hold one copy for each image; equal ones are kept once.
        for vertices, points in zip(data.objects('vertices', (None, 3)), landmarks, strict=True):
            subjects.append(hashlib.sha256(vertices.tobytes() + points.tobytes()).hexdigest())
            self._scans.setdefault(subjects[-1], (vertices, points))
        return dict(subject=subjects)


def _check_joints(data: HumanData, key: str, convention: str) -> None:
    """Refuse a file without the joints of a convention. Bodies may be labelled in part."""
    mask, slots = data.mask(key), list(SLOTS[convention])
    there = int(mask[slots].sum())
    if there == len(slots) or (there and convention == 'smplx'):
        return
    if convention == 'mano' and mask[list(LEFT_HAND_SLOTS)].any() and not there:
        raise ValueError(f'{data.path}: {key} are those of left hands; {RIGHT_HANDS}')
    raise ValueError(
        f'{data.path}: {key} has {there} of the {len(slots)} joints of convention {convention!r}: is it of another '
        'part of the body? Joints that are not known are written with confidence 0'
    )
