"""HumanData files: round trips, files that others wrote, and errors of one line."""

import os
import re
import subprocess
import sys

import numpy as np
import pytest

from helpers.tool_runs import ROOT
from mogapose.expose.data.human_data import HumanData, write_human_data
from mogapose.expose.models.conventions import FLAME_SLOTS, HAND_SLOTS

N = 3
BOXES = np.array([[0, 0, 224, 224], [1, 2, 3, 4], [-5, 0, 10, 20.5]])


def arrays(slots=HAND_SLOTS) -> dict:
    random = np.random.default_rng(0)
    return dict(
        keypoints2d=random.uniform(1, 200, (N, len(slots), 3)).astype(np.float32),
        keypoints3d=random.normal(size=(N, len(slots), 4)).astype(np.float32),
        smplx=dict(
            global_orient=random.normal(size=(N, 1, 3)).astype(np.float32),
            right_hand_pose=random.normal(size=(N, 15, 3)).astype(np.float32),
            betas=random.normal(size=(N, 10)).astype(np.float32),
        ),
    )


def content() -> dict:
    """Write a file as MMHuman3D's own class does: 190 key points, wider types, objects."""
    written = arrays()
    full2d, full3d, mask = np.zeros((N, 190, 3)), np.zeros((N, 190, 4)), np.zeros(190)
    full2d[:, HAND_SLOTS], full3d[:, HAND_SLOTS], mask[list(HAND_SLOTS)] = *list(written.values())[:2], 1
    return dict(
        __key_strict__=False,
        __data_len__=N,
        __keypoints_compressed__=False,
        image_path=['a.jpg', 'b/b.jpg', 'c.jpg'],
        bbox_xywh=np.hstack((BOXES, np.ones((N, 1)))),
        keypoints2d=full2d,
        keypoints2d_mask=mask,
        keypoints3d=full3d,
        keypoints3d_mask=mask,
        smplx={key: value.astype(np.float64) for key, value in written['smplx'].items()},
        config='freihand',
        meta=dict(gender=['m', 'f', 'm']),
    )


def dump(path, **changes):
    """Write ``content`` with changes as ``np.savez_compressed`` does; None leaves a key out."""
    found = content() | changes
    np.savez_compressed(path, **{key: value for key, value in found.items() if value is not None})
    return path


def read_all(path) -> dict:
    with HumanData(path) as data:
        return dict(
            images=data.image_paths,
            boxes=data.boxes(),
            keypoints2d=data.keypoints('keypoints2d', HAND_SLOTS),
            keypoints3d=data.keypoints('keypoints3d', HAND_SLOTS),
            **data.parameters(),
        )


def error_of(path) -> str:
    with pytest.raises(ValueError, match=re.escape(str(path))) as caught:
        read_all(path)
    text = str(caught.value)
    assert '\n' not in text
    assert len(text) < 400
    return text


def expected() -> dict:
    written = arrays()
    smplx = written.pop('smplx')
    return dict(images=['a.jpg', 'b/b.jpg', 'c.jpg'], boxes=BOXES, **written, **smplx)


def assert_same(found, wanted):
    assert found.keys() == wanted.keys()
    for key, value in wanted.items():
        np.testing.assert_array_equal(found[key], value, err_msg=key)
        assert key == 'images' or found[key].dtype == np.float32


def test_what_is_written_reads_the_same(tmp_path):
    write_human_data(tmp_path / 'x/a.npz', ['a.jpg', 'b/b.jpg', 'c.jpg'], BOXES, slots=HAND_SLOTS, **arrays())
    assert_same(read_all(tmp_path / 'x/a.npz'), expected())
    assert [path.name for path in (tmp_path / 'x').iterdir()] == ['a.npz']


def test_a_file_of_mmhuman3d_reads_the_same(tmp_path):
    assert_same(read_all(dump(tmp_path / 'a.npz')), expected())


def test_older_boxes_and_flat_orientations_read_the_same(tmp_path):
    smplx = content()['smplx']
    smplx['global_orient'] = smplx['global_orient'][:, 0]
    assert_same(read_all(dump(tmp_path / 'a.npz', bbox_xywh=BOXES, smplx=smplx)), expected())


def test_written_files_have_the_entries_that_mmhuman3d_asks_for(tmp_path):
    path = tmp_path / 'a.npz'
    points = arrays(FLAME_SLOTS)
    write_human_data(path, ['a.jpg', 'b.jpg', 'c.jpg'], BOXES, slots=FLAME_SLOTS, **points, config=np.array('x'))
    found = dict(np.load(path, allow_pickle=True))
    assert found['__data_len__'].item() == N
    assert found['__keypoints_compressed__'].item() is True
    assert found['__key_strict__'].item() is False
    assert found['config'].item() == 'x'
    assert found['image_path'].tolist() == ['a.jpg', 'b.jpg', 'c.jpg']
    assert found['bbox_xywh'].shape == (N, 5)
    assert (found['bbox_xywh'][:, 4] == 1).all()
    assert set(found['smplx'].item()) == {'global_orient', 'right_hand_pose', 'betas'}
    # As in MMHuman3D, the columns of compressed key points are those that the mask marks, in order.
    mask = found['keypoints2d_mask'].astype(bool)
    full = np.zeros((N, 190, 3))
    full[:, mask] = found['keypoints2d']
    np.testing.assert_array_equal(full[:, list(FLAME_SLOTS)], points['keypoints2d'])
    assert mask.sum() == 73


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            dict(keypoints2d=np.ones((N, 20, 3))),
            r'a.npz: keypoints2d to be written has shape \(3, 20, 3\), where '
            '3 x 21 x 3 is expected',
        ),
        (dict(keypoints3d=np.ones((N, 21, 3))), '3 x 21 x 4 is expected'),
        (dict(bbox_xywh=np.ones((N, 5))), 'bbox_xywh to be written .* 3 x 4 is expected'),
        (dict(smplx=dict(betas=np.ones((2, 10)))), 'smplx.betas to be written .* 3 x any is expected'),
    ],
)
def test_what_does_not_fit_is_not_written(tmp_path, changes, message):
    content = dict(image_path=['a', 'b', 'c'], bbox_xywh=BOXES, slots=HAND_SLOTS, **arrays())
    with pytest.raises(ValueError, match=message):
        write_human_data(tmp_path / 'a.npz', **(content | changes))
    assert list(tmp_path.iterdir()) == []


def test_key_points_that_the_file_lacks_have_no_confidence(tmp_path):
    present = HAND_SLOTS[:5]
    points = arrays(present)['keypoints2d']
    path = tmp_path / 'a.npz'
    write_human_data(path, ['a', 'b', 'c'], BOXES, slots=present, keypoints2d=points)
    with HumanData(path) as data:
        found = data.keypoints('keypoints2d', HAND_SLOTS)
        assert data.parameters() == {}
    np.testing.assert_array_equal(found[:, :5], points)
    assert (found[:, 5:] == 0).all()


def test_ragged_vertices_are_read(tmp_path):
    random = np.random.default_rng(0)
    scans = np.empty(N, object)
    scans[:] = [random.normal(size=(size, 3)) for size in (4, 7, 5)]
    with HumanData(dump(tmp_path / 'a.npz', vertices=scans)) as data:
        found = data.objects('vertices', (None, 3))
    for mine, theirs in zip(found, scans, strict=True):
        np.testing.assert_array_equal(mine, theirs.astype(np.float32))
    with HumanData(dump(tmp_path / 'b.npz', vertices=np.ones((N, 4, 3)))) as data:
        assert [scan.shape for scan in data.objects('vertices', (None, 3))] == [(4, 3)] * N
    with HumanData(dump(tmp_path / 'c.npz', vertices=scans[:2])) as data, pytest.raises(ValueError, match='2 entries'):
        data.objects('vertices', (None, 3))


class Harmful:
    def __reduce__(self):
        return os.system, ('touch harm',)


@pytest.mark.parametrize(
    'changes',
    [
        dict(smplx=dict(betas=Harmful())),
        dict(smplx=Harmful()),
        dict(image_path=np.array([Harmful()] * N, object)),
        dict(keypoints2d=np.array(Harmful(), object)),
    ],
)
def test_a_file_that_is_more_than_data_is_refused(tmp_path, monkeypatch, changes):
    monkeypatch.chdir(tmp_path)
    assert 'system' in error_of(dump(tmp_path / 'a.npz', **changes))
    assert not (tmp_path / 'harm').exists()


def changed(key, function):
    value = content()[key].copy()
    return {key: function(value)}


def put(value, index, new):
    value[index] = new
    return value


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(image_path=None), 'has no image_path, but __data_len__'),
        (dict(bbox_xywh=None), 'has no bbox_xywh'),
        (dict(keypoints2d_mask=None), 'has no keypoints2d_mask'),
        (dict(image_path=[]), 'image_path is no list of texts'),
        (dict(bbox_xywh=BOXES[:2]), 'bbox_xywh has shape 2 x 4, where 3 x any is expected'),
        (dict(bbox_xywh=BOXES[:, :3]), 'bbox_xywh has 3 columns'),
        (changed('bbox_xywh', lambda x: put(x, (1, 2), 0)), r'bbox_xywh of sample 1 (b/b.jpg) has no width or height'),
        (
            changed('bbox_xywh', lambda x: put(x, (2, 0), np.inf)),
            'bbox_xywh holds NaN or infinite values, first for sample 2 (c.jpg)',
        ),
        (changed('keypoints2d', lambda x: x[:, :21]), 'keypoints2d holds 21 joints, where 190, those of HumanData'),
        (changed('keypoints3d', lambda x: x[..., :3]), 'keypoints3d has shape 3 x 190 x 3, where 3 x any x 4'),
        (
            changed('keypoints2d', lambda x: put(x, (2, 40, 1), np.nan)),
            'keypoints2d holds NaN or infinite values, first for sample 2 (c.jpg)',
        ),
        (dict(__keypoints_compressed__=True), 'keypoints2d holds 190 joints, where 21, as marked by keypoints2d_mask'),
        (dict(keypoints2d_mask=np.ones(21)), 'keypoints2d_mask has shape (21,)'),
        (dict(smplx=[1, 2]), 'smplx holds'),
        (
            changed('smplx', lambda x: x | dict(betas=np.full((N, 10), np.nan))),
            'smplx.betas holds NaN or infinite values, first for sample 0 (a.jpg)',
        ),
        (
            changed('smplx', lambda x: x | dict(right_hand_pose=np.zeros((N, 45)))),
            'smplx.right_hand_pose has shape 3 x 45, where 3 x 15 x 3',
        ),
        (changed('smplx', lambda x: x | dict(betas=[['a'] * 10] * N)), 'smplx.betas holds <U1, where numbers'),
    ],
)
def test_what_does_not_fit_is_one_line(tmp_path, changes, message):
    assert message in error_of(dump(tmp_path / 'a.npz', **changes))


def test_a_file_that_is_none_is_one_line(tmp_path):
    path = tmp_path / 'a.npz'
    with pytest.raises(FileNotFoundError, match=r'a\.npz: no such file of HumanData; tools/convert_expose_data\.py'):
        HumanData(path)
    path.write_bytes(b'<html>')
    assert 'not a readable .npz' in error_of(path)
    path.write_bytes(dump(tmp_path / 'b.npz').read_bytes()[:3000])
    assert 'not a readable .npz' in error_of(path)


def test_a_damaged_entry_is_one_line(tmp_path):
    path = dump(tmp_path / 'a.npz')
    whole = bytearray(path.read_bytes())
    whole[whole.index(b'bbox_xywh.npy') + 40] ^= 0xFF
    path.write_bytes(whole)
    assert 'bbox_xywh is not readable' in error_of(path)


def test_a_writer_that_fails_leaves_nothing(tmp_path, monkeypatch):
    path = dump(tmp_path / 'a.npz')
    before = path.read_bytes()

    def broken(file, **content):
        file.write(b'half')
        raise OSError('disk full')

    monkeypatch.setattr(np, 'savez_compressed', broken)
    with pytest.raises(OSError, match='disk full'):
        write_human_data(path, ['a'], BOXES[:1])
    assert path.read_bytes() == before
    assert [found.name for found in tmp_path.iterdir()] == ['a.npz']


def test_importing_the_package_loads_no_mm_package_but_mmengine():
    code = (
        'import sys, mogapose.expose;'
        'print([n for n in ("mmcv", "mmpose", "mmdet", "smplx", "trimesh", "scipy", "chumpy") if n in sys.modules])'
    )
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env, check=True)
    assert out.stdout.strip() == '[]'
