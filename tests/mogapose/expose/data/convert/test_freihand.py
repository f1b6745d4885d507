"""FreiHAND to HumanData: poses, projections, splits without a leak, and the comparison with FreiHAND's vertices."""

import json
import pickle
import re
import shutil

import numpy as np
import pytest
import torch

from helpers.expose_sources import DEPTH, FOCAL, MIDDLE
from helpers.tool_runs import call, run_tool
from mogapose.expose.body_models.layers import MANO
from mogapose.expose.data.convert.freihand import convert, split_rows
from mogapose.expose.data.human_data import HumanData
from mogapose.expose.models.conventions import HAND_SLOTS
from mogapose.expose.models.rotation import axis_angle_to_matrix


def read(path):
    with HumanData(path) as data:
        truth = {}
        if 'gt_vertices' in data.keys:
            truth = dict(
                vertices=data.array('gt_vertices', (None, 778, 3)),
                index=data.array('gt_index', (data.count,)).astype(int),
            )
        return dict(
            data.parameters(),
            **truth,
            images=data.image_paths,
            boxes=data.boxes(),
            keypoints2d=data.keypoints('keypoints2d', HAND_SLOTS),
            keypoints3d=data.keypoints('keypoints3d', HAND_SLOTS),
        )


def poses_of(found) -> set[bytes]:
    return {pose.tobytes() for pose in found['right_hand_pose']}


@pytest.fixture
def source(freihand, tmp_path):
    """A copy that a test may spoil."""
    shutil.copytree(freihand.source, tmp_path / 'FreiHand')
    return tmp_path / 'FreiHand'


def test_every_version_of_an_image_has_its_pose(freihand):
    found = read(freihand.out / 'freihand_train.npz')
    numbers = [v * 4 + i for v in range(4) for i in range(3)]  # 3 of 4 poses, versions 0 to 3
    assert found['images'] == [f'training/rgb/{number:08d}.jpg' for number in numbers]
    np.testing.assert_allclose(found['right_hand_pose'], np.tile(freihand.truth['poses'][:3], (4, 1, 1)), atol=1e-6)
    np.testing.assert_allclose(found['betas'], np.tile(freihand.truth['betas'][:3], (4, 1)), atol=1e-6)
    assert found['global_orient'].shape == (12, 1, 3)
    assert (found['boxes'] == (0, 0, 224, 224)).all()


def test_joints_are_freihands_and_project_into_the_image(freihand):
    found = read(freihand.out / 'freihand_test.npz')
    joints = freihand.truth['joints'][4:]
    np.testing.assert_allclose(found['keypoints3d'][..., :3], joints, atol=1e-6)
    assert (found['keypoints3d'][..., 3] == 1).all()
    assert (found['keypoints2d'][..., 2] == 1).all()
    projected = FOCAL * joints[..., :2] / joints[..., 2:] + MIDDLE
    np.testing.assert_allclose(found['keypoints2d'][..., :2], projected, atol=1e-3)
    assert found['keypoints2d'][..., :2].min() > 0
    assert found['keypoints2d'][..., :2].max() < 224
    assert abs(joints[..., 2].mean() - DEPTH) < 1e-6


def test_truth_is_what_freihand_gives(freihand):
    test, val = (read(freihand.out / f'freihand_{part}.npz') for part in ('test', 'val'))
    np.testing.assert_allclose(test['vertices'][test['index']], freihand.truth['vertices'][4:], atol=1e-6)
    assert len(val['vertices']) == 1
    assert val['index'].tolist() == [0, 0, 0, 0]
    np.testing.assert_allclose(val['vertices'][0], freihand.truth['vertices'][3], atol=1e-6)
    assert 'vertices' not in read(freihand.out / 'freihand_train.npz')


def test_parameters_pose_the_model_as_the_vertices_lie(freihand):
    found, mano = read(freihand.out / 'freihand_test.npz'), MANO(freihand.body_model)
    posed = mano(
        axis_angle_to_matrix(torch.from_numpy(found['global_orient'])),
        betas=torch.from_numpy(found['betas']),
        right_hand_pose=axis_angle_to_matrix(torch.from_numpy(found['right_hand_pose'])),
    )
    ours = posed['vertices'] - posed['joints'][:, :1]
    theirs = freihand.truth['vertices'][4:] - freihand.truth['joints'][4:, :1]
    np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_no_pose_that_is_validated_on_is_trained_on(freihand, tmp_path):
    train, val = (read(freihand.out / f'freihand_{part}.npz') for part in ('train', 'val'))
    assert len(poses_of(train)) == 3
    assert len(poses_of(val)) == 1
    assert poses_of(train) & poses_of(val) == set()
    assert set(train['images']) & set(val['images']) == set()


def test_mmhuman3ds_split_validates_on_poses_that_it_trains_on(freihand, tmp_path):
    convert(freihand.source, tmp_path, split='mmhuman3d', body_model=freihand.body_model)
    train, val = (read(tmp_path / f'freihand_{part}.npz') for part in ('train', 'val'))
    assert (len(train['images']), len(val['images'])) == (12, 4)  # 80 % of 16 images, and the last four
    assert val['images'] == [f'training/rgb/{i:08d}.jpg' for i in (12, 13, 14, 15)]
    assert poses_of(val) <= poses_of(train)
    assert len(poses_of(val)) == 4


def test_splits_of_freihands_own_size():
    ours, theirs = split_rows('pose', 32560), split_rows('mmhuman3d', 32560)
    assert [len(ours[part]) for part in ('train', 'val')] == [104192, 26048]
    assert len(set(ours['train'] % 32560)) == 26048
    assert not set(ours['train'] % 32560) & set(ours['val'] % 32560)
    assert (theirs['val'][0], theirs['val'][-1], len(theirs['val'])) == (104192, 130239, 26048)
    assert set(theirs['val'] % 32560) == set(range(6512, 32560)) <= set(theirs['train'] % 32560)


def test_summary_says_what_was_compared(freihand):
    lines = freihand.summary.splitlines()
    assert len(lines) == 3
    assert 'freihand_test.npz: 4 images of 4 poses; MANO is within 0.00' in lines[0]
    assert 'freihand_train.npz: 12 images of 3 poses; MANO is within 0.00' in lines[1]


def test_a_mean_pose_that_is_not_freihands_is_found_out(freihand, tmp_path):
    """A body model with a mean pose of zero is refused: poses would lack the mean."""
    arrays = dict(np.load(freihand.body_model.with_suffix('.npz')))
    arrays['hands_mean'] = np.zeros(45)
    np.savez(tmp_path / 'MANO_RIGHT.npz', **arrays)
    with pytest.raises(ValueError, match=r'evaluation_verts.json: MANO is up to [1-9][\d.]+ mm .* for 4 of 4 samples'):
        convert(freihand.source, tmp_path / 'out', body_model=tmp_path / 'MANO_RIGHT.npz')
    assert not (tmp_path / 'out').exists()


def test_mean_pose_from_all_means(freihand, tmp_path):
    mean = MANO(freihand.body_model).hands_mean.numpy()
    path = tmp_path / 'all_means.pkl'
    path.write_bytes(pickle.dumps(dict(right_hand_pose=dict(aa=mean.reshape(1, 45)))))
    summary = convert(freihand.source, tmp_path / 'out', body_model='not/there.pkl', mean_pose=path)
    assert summary.count('not compared with a body model') == 3
    for part in ('train', 'val', 'test'):
        ours, theirs = (read(folder / f'freihand_{part}.npz') for folder in (freihand.out, tmp_path / 'out'))
        np.testing.assert_array_equal(ours['right_hand_pose'], theirs['right_hand_pose'])
    path.write_bytes(pickle.dumps(dict(left_hand_pose=1)))
    with pytest.raises(ValueError, match=r'all_means\.pkl: has no right_hand_pose with aa'):
        convert(freihand.source, tmp_path / 'out', mean_pose=path)
    with pytest.raises(FileNotFoundError, match='no such file of mean poses'):
        convert(freihand.source, tmp_path / 'out', mean_pose=tmp_path / 'no.pkl')


def test_a_missing_body_model_is_one_line(freihand, tmp_path):
    with pytest.raises(FileNotFoundError, match=r'MANO_RIGHT\.pkl: no such file\. It is licensed: register at'):
        convert(freihand.source, tmp_path / 'out', body_model=tmp_path / 'MANO_RIGHT.pkl')


def spoil(path, function):
    path.write_text(json.dumps(function(json.loads(path.read_text()))))


@pytest.mark.parametrize(
    ('name', 'function', 'message'),
    [
        (
            'training_mano',
            lambda x: [[row[0][:48]] for row in x],
            'training_mano.json: holds 192 numbers, where a multiple of 61',
        ),
        ('training_K', lambda x: x[:3], 'training_K.json: holds 3 samples, training_xyz.json 4'),
        ('evaluation_xyz', lambda x: [*x[:2], [['nan', 0, 0]] * 21, x[3]], 'evaluation_xyz.json: no json of numbers'),
        ('evaluation_verts', lambda x: [*x[:2], [[float('nan'), 0, 0]] * 778, *x[3:]], 'first for sample 2'),
        ('evaluation_K', lambda x: [], 'evaluation_K.json: holds 0 numbers'),
    ],
)
def test_a_file_that_does_not_fit_is_one_line(source, freihand, tmp_path, name, function, message):
    spoil(source / f'{name}.json', function)
    with pytest.raises(ValueError, match=re.escape(message)) as caught:
        convert(source, tmp_path / 'out', body_model=freihand.body_model)
    assert '\n' not in str(caught.value)
    assert not (tmp_path / 'out').exists()  # nothing is written before everything is checked


def test_missing_files_are_named(source, freihand, tmp_path):
    (source / 'training/rgb/00000007.jpg').unlink()
    with pytest.raises(FileNotFoundError, match=r'00000007\.jpg does not exist; training_xyz\.json names 1 such of 16'):
        convert(source, tmp_path / 'out', body_model=freihand.body_model)
    (source / 'evaluation_verts.json').unlink()
    with pytest.raises(FileNotFoundError, match=r'evaluation_verts\.json: no such file; FreiHAND comes as'):
        convert(source, tmp_path / 'out', body_model=freihand.body_model)


def test_json_is_read_in_pieces_as_in_whole(freihand, tmp_path, monkeypatch):
    monkeypatch.setattr('mogapose.expose.data.convert.freihand.CHUNK', 17)
    convert(freihand.source, tmp_path, body_model=freihand.body_model)
    ours, theirs = (read(folder / 'freihand_val.npz') for folder in (freihand.out, tmp_path))
    np.testing.assert_array_equal(ours['vertices'], theirs['vertices'])
    np.testing.assert_array_equal(ours['keypoints2d'], theirs['keypoints2d'])


def test_tool_converts_and_overwrites_only_when_told(freihand, tmp_path, capsys):
    out = tmp_path / 'out'
    arguments = ('freihand', freihand.source, out, '--split', 'mmhuman3d', '--body-model', freihand.body_model)
    call('convert_expose_data', *arguments)
    assert 'freihand_val.npz: 4 images of 4 poses' in capsys.readouterr().out
    assert run_tool('convert_expose_data', *arguments) == 1
    assert 'freihand_train.npz exists: --force overwrites it' in capsys.readouterr().err
    assert run_tool('convert_expose_data', *arguments, '--force') == 0
