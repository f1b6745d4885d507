"""Stirling's faces to HumanData, and scans once per person."""

import shutil

import cv2
import numpy as np
import pytest

from helpers.tool_runs import call
from mogapose.expose.data.convert.stirling import convert, read_landmarks, read_obj
from mogapose.expose.data.face_scans import check_scans, read_scan
from mogapose.expose.data.human_data import HumanData
from mogapose.expose.models.conventions import FACE3D_SLOTS


@pytest.fixture
def source(stirling, tmp_path):
    shutil.copytree(stirling.source, tmp_path / 'stirling')
    return tmp_path / 'stirling'


def test_each_quality_has_its_images_and_their_persons(stirling):
    for quality in ('HQ', 'LQ'):
        with HumanData(stirling.out / f'stirling_ESRC3D_{quality}.npz') as data:
            assert data.image_paths == [
                f'Subset_2D_FG2018/{quality}/{name}.jpg' for name in ('F1001_0', 'F1001_1', 'M1002_0', 'M1002_1')
            ]
            assert data.texts('subject') == ['F1001', 'F1001', 'M1002', 'M1002']
            assert data.texts('scan_file') == ['stirling_scans.npz']
            landmarks = data.keypoints('keypoints3d', FACE3D_SLOTS)
            boxes = data.boxes()
    np.testing.assert_allclose(landmarks[2, :, :3], stirling.truth['M1002'][1], atol=1e-4)
    assert boxes.tolist() == [[0, 0, 39, 39]] * 4  # x, y, width - 1, height - 1 of the low quality
    with HumanData(stirling.out / 'stirling_ESRC3D_HQ.npz') as data:
        assert data.boxes()[:2].tolist() == [[0, 0, 63, 63], [0, 0, 71, 63]]


def test_scans_are_stored_once_in_millimetres(stirling):
    path = stirling.out / 'stirling_scans.npz'
    assert sorted(np.load(path).files) == ['F1001_landmarks', 'F1001_vertices', 'M1002_landmarks', 'M1002_vertices']
    for subject, (vertices, landmarks) in stirling.truth.items():
        found = read_scan(path, subject)
        np.testing.assert_allclose(found[0], vertices, atol=1e-4)
        np.testing.assert_allclose(found[1], landmarks, atol=1e-4)
    assert [len(read_scan(path, subject)[0]) for subject in ('F1001', 'M1002')] == [300, 280]
    assert 80 < np.ptp(read_scan(path, 'F1001')[0][:, 0]) < 250  # a head is as wide as that


def test_images_without_a_scan_are_left_out_and_counted(source, tmp_path):
    shutil.copy(source / 'Subset_2D_FG2018/HQ/F1001_0.jpg', source / 'Subset_2D_FG2018/HQ/F1999_0.jpg')
    (source / 'annotations/M_3D_N/M1002_N.lnd').unlink()
    lines = convert(source, tmp_path / 'out').splitlines()
    assert lines[0].endswith('stirling_ESRC3D_HQ.npz: 2 images of 1 persons; left out, as there is no scan: 3')
    assert lines[1].endswith('left out, as there is no scan: 2')
    assert lines[2].endswith('stirling_scans.npz: 1 scans')


def test_one_quality_will_do(source, tmp_path):
    shutil.rmtree(source / 'Subset_2D_FG2018/LQ')
    call('convert_expose_data', 'stirling', source, tmp_path / 'out')
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'stirling_ESRC3D_HQ.npz',
        'stirling_scans.npz',
    ]
    shutil.rmtree(source / 'Subset_2D_FG2018/HQ')
    with pytest.raises(FileNotFoundError, match='Subset_2D_FG2018: has neither of the folders HQ and LQ'):
        convert(source, tmp_path / 'out')


def test_no_scan_at_all_is_one_line(source, tmp_path):
    shutil.rmtree(source / 'annotations')
    with pytest.raises(FileNotFoundError, match='HQ: 4 images, none with a scan and landmarks'):
        convert(source, tmp_path / 'out')


def test_obj_is_read_up_to_its_texture(tmp_path):
    path = tmp_path / 'a.obj'
    path.write_text('# x\nmtllib a.mtl\nv 1 2.5 -3e1\nv 4 5 6 0.5 0.5 0.5\nvn 0 0 1\nvt 0 0\nv 7 8 9\n')
    assert read_obj(path).tolist() == [[1, 2.5, -30], [4, 5, 6]]
    path.write_text('v 1 2\n')
    with pytest.raises(ValueError, match=r"a.obj:1: expected three numbers, found '1 2'"):
        read_obj(path)
    path.write_text('v 1 2 nan\n')
    with pytest.raises(ValueError, match=r'a.obj:1: expected three numbers'):
        read_obj(path)
    path.write_text('# empty\n')
    with pytest.raises(ValueError, match=r'a\.obj: has no vertices'):
        read_obj(path)


def test_landmarks_are_seven(tmp_path):
    path = tmp_path / 'a.lnd'
    path.write_text('\n'.join(f'p{i} {i} 0.5 -1' for i in range(7)) + '\n\n')
    assert read_landmarks(path).tolist() == [[i, 0.5, -1] for i in range(7)]
    path.write_text('p 1 2 3\n' * 6)
    with pytest.raises(ValueError, match=r'a\.lnd: has 6 landmarks, where 7 are expected'):
        read_landmarks(path)
    path.write_text('p 1 2 x\n' * 7)
    with pytest.raises(ValueError, match=r"a\.lnd:1: expected three numbers, found '1 2 x'"):
        read_landmarks(path)


def test_an_image_that_is_none_is_named(source, tmp_path):
    (source / 'Subset_2D_FG2018/HQ/M1002_1.jpg').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'M1002_1\.jpg is missing or cannot be read'):
        convert(source, tmp_path / 'out')
    cv2.imwrite(str(source / 'Subset_2D_FG2018/HQ/M1002_1.jpg'), np.zeros((8, 8, 3), np.uint8))
    convert(source, tmp_path / 'out')


def test_a_file_of_scans_that_does_not_fit_is_one_line(stirling, tmp_path):
    path = stirling.out / 'stirling_scans.npz'
    with pytest.raises(ValueError, match='has no X9_vertices: is it of another conversion'):
        check_scans(path, {'X9', 'F1001'})
    with pytest.raises(FileNotFoundError, match='no such file of scans'):
        check_scans(tmp_path / 'no.npz', set())
    broken = tmp_path / 'broken.npz'
    broken.write_bytes(b'x')
    with pytest.raises(ValueError, match=r'broken\.npz: not a readable \.npz'):
        check_scans(broken, set())
    np.save(tmp_path / 'array.npy', np.zeros(3))
    with pytest.raises(ValueError, match=r'array\.npy: not a readable \.npz'):
        check_scans(tmp_path / 'array.npy', set())
    bad = tmp_path / 'bad.npz'
    np.savez(
        bad,
        a_vertices=np.ones((3, 3)),
        a_landmarks=np.ones((6, 3)),
        b_vertices=np.full((3, 3), np.nan),
        b_landmarks=np.ones((7, 3)),
        c_vertices=np.array([{}]),
        c_landmarks=np.ones((7, 3)),
    )
    for subject, message in dict(
        a='a_landmarks .* is no list of 7', b='b_vertices .* is no list', c='not read'
    ).items():
        with pytest.raises(ValueError, match=message):
            read_scan(bad, subject)
