"""FFHQ's fits to HumanData."""

import re
import shutil

import numpy as np
import pytest

from helpers.expose_sources import write_ffhq
from helpers.tool_runs import call
from mogapose.expose.data.convert.ffhq import convert
from mogapose.expose.data.human_data import HumanData
from mogapose.expose.models.conventions import FLAME_SLOTS


@pytest.fixture
def source(ffhq, tmp_path):
    shutil.copytree(ffhq.source, tmp_path / 'ffhq')
    return tmp_path / 'ffhq'


def test_first_four_fifths_are_trained_on(ffhq):
    with HumanData(ffhq.out / 'ffhq_flame_train.npz') as train, HumanData(ffhq.out / 'ffhq_flame_val.npz') as val:
        assert train.image_paths == [f'ffhq_global_images_1024/0000{i}.png' for i in range(4)]
        assert val.image_paths == ['ffhq_global_images_1024/00004.png']
    assert ffhq.summary.splitlines()[0].endswith('ffhq_flame_train.npz: 4 images')


def test_fits_are_kept_as_they_are(ffhq):
    with HumanData(ffhq.out / 'ffhq_flame_val.npz') as data:
        parameters, points = data.parameters(), data.keypoints('keypoints2d', FLAME_SLOTS)
        assert (data.boxes() == (0, 0, 64, 64)).all()
        assert 'keypoints3d' not in data.keys
    for name, key in dict(global_orient='global_pose', jaw_pose='jaw_pose').items():
        np.testing.assert_allclose(parameters[name][:, 0], ffhq.truth[key][4:], atol=1e-6)
    for name in ('betas', 'expression'):
        np.testing.assert_allclose(parameters[name], ffhq.truth[name][4:], atol=1e-6)
    np.testing.assert_allclose(points[..., :2], ffhq.truth['keypoints2d'][4:], atol=1e-5)
    assert (points[..., 2] == 1).all()


def test_exposes_spelling_and_confidences_are_read(tmp_path):
    fits = write_ffhq(tmp_path / 'a', key='keypoints2D')
    fits['keypoints2D'] = np.concatenate((fits['keypoints2D'], np.full((5, 73, 1), 0.25)), -1)
    np.savez(tmp_path / 'a/ffhq_annotations.npz', **fits)
    convert(tmp_path / 'a', tmp_path / 'out', image_size=64)
    with HumanData(tmp_path / 'out/ffhq_flame_train.npz') as data:
        points = data.keypoints('keypoints2d', FLAME_SLOTS)
    np.testing.assert_allclose(points, fits['keypoints2D'][:4], atol=1e-5)


def test_images_are_1024_unless_told_otherwise(ffhq, tmp_path):
    call('convert_expose_data', 'ffhq', ffhq.source, tmp_path / 'a')
    call('convert_expose_data', 'ffhq', ffhq.source, tmp_path / 'b', '--image-size', 64)
    sides = []
    for folder in 'ab':
        with HumanData(tmp_path / folder / 'ffhq_flame_val.npz') as data:
            sides.append(data.boxes()[0, 2:].tolist())
    assert sides == [[1024, 1024], [64, 64]]


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (dict(jaw_pose=None), 'has no jaw_pose, but betas, expression'),
        (dict(keypoints2d=None), 'has no keypoints2d'),
        (dict(keypoints2d=np.zeros((5, 68, 2))), 'keypoints2d has shape (5, 68, 2), where (5, 73, 2 or 3) is expected'),
        (dict(betas=np.zeros((4, 100))), 'betas has shape (4, 100), for 5 images'),
        (dict(global_pose=np.zeros((5, 4))), 'global_pose has shape (5, 4), for 5 images'),
        (dict(expression=np.full((5, 50), np.nan)), 'expression holds NaN or infinite values, first for sample 0'),
        (dict(betas=np.array([['x']])), 'betas holds <U1, where arrays of numbers'),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(ffhq, source, tmp_path, changes, message):
    fits = {key: value for key, value in (ffhq.truth | changes).items() if value is not None}
    np.savez(source / 'ffhq_annotations.npz', **fits)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        convert(source, tmp_path / 'out')
    text = str(caught.value)
    assert 'ffhq_annotations.npz' in text
    assert '\n' not in text


def test_missing_and_broken_files_are_named(source, tmp_path):
    (source / 'ffhq_global_images_1024/00002.png').unlink()
    with pytest.raises(
        FileNotFoundError, match=r'00002\.png does not exist; .*ffhq_annotations\.npz names 1 such of 5'
    ):
        convert(source, tmp_path / 'out')
    (source / 'ffhq_annotations.npz').write_bytes(b'<html>')
    with pytest.raises(ValueError, match=r'ffhq_annotations\.npz: not a readable \.npz'):
        convert(source, tmp_path / 'out')
    (source / 'ffhq_annotations.npz').unlink()
    with pytest.raises(FileNotFoundError, match=r'ffhq_annotations\.npz: no such file; it is published with MMHuman3D'):
        convert(source, tmp_path / 'out')
