"""The data set: samples of each convention, flags of missing labels, truth for the metrics, errors."""

import shutil

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS as ROOT_DATASETS
from mmengine.registry import DefaultScope

from mogapose.expose.data.datasets import HumanDataDataset
from mogapose.expose.data.human_data import write_human_data
from mogapose.expose.models.conventions import FACE3D_SLOTS, FLAME_SLOTS, HAND_SLOTS, SLOTS
from mogapose.expose.registry import DATASETS

TEST_PIPELINE = [dict(type='LoadImageFromFile'), dict(type='MeshAffine', img_res=224), dict(type='PackExPoseInputs')]
BOXES = np.array([[0, 0, 20, 30.0]])


@pytest.fixture(autouse=True)
def scope():
    """As in a run, whose config has default_scope = 'mogapose'."""
    with DefaultScope.overwrite_default_scope('mogapose'):
        yield


def load(ann_file, images, convention, **options):
    return DATASETS.build(
        dict(
            type='HumanDataDataset',
            ann_file=str(ann_file),
            convention=convention,
            data_prefix=dict(img=str(images)),
            **options,
        )
    )


@pytest.fixture
def one(tmp_path):
    """Write a file of one image and load it."""
    cv2.imwrite(str(tmp_path / 'a.png'), np.zeros((40, 40, 3), np.uint8))

    def make(convention='mano', slots=HAND_SLOTS, options=(), **content):
        write_human_data(tmp_path / 'a.npz', ['a.png'], BOXES, slots=slots, **content)
        return load(tmp_path / 'a.npz', tmp_path, convention, **dict(options))

    return make


def points(slots=HAND_SLOTS, columns=3):
    return np.ones((1, len(slots), columns))


def error_of(function, *args, **options) -> str:
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        function(*args, **options)
    text = str(caught.value)
    assert '\n' not in text
    assert len(text) < 400
    return text


# --- hands


def test_hand_samples(freihand):
    dataset = load(freihand.out / 'freihand_train.npz', freihand.source, 'mano')
    info = dataset.get_data_info(4)  # the second version of the second of three poses
    assert len(dataset) == 12
    assert info['sample_idx'] == 4
    assert info['img_path'] == str(freihand.source / 'training/rgb/00000005.jpg')
    assert info['dataset'] == 'freihand_train'
    assert info['convention'] == 'mano'
    assert info['center'].tolist() == [112, 112]
    assert info['scale'].tolist() == [224, 224]
    np.testing.assert_allclose(info['keypoints3d'][:, :3], freihand.truth['joints'][1], atol=1e-6)
    np.testing.assert_allclose(info['right_hand_pose'], freihand.truth['poses'][1], atol=1e-6)
    shapes = dict(keypoints2d=(21, 3), keypoints3d=(21, 4), global_orient=(1, 3), right_hand_pose=(15, 3), betas=(10,))
    for name, shape in shapes.items():
        assert info[name].shape == shape
        assert info[name].dtype == np.float32
        assert info[f'has_{name}'] == 1
    assert not {'gt_vertices', 'gt_joints', 'jaw_pose', 'expression'} & info.keys()


def test_hands_that_are_tested_have_vertices_and_joints(freihand):
    for part, first in (('test', 4), ('val', 3)):
        dataset = load(freihand.out / f'freihand_{part}.npz', freihand.source, 'mano', test_mode=True)
        assert len(dataset) == 4
        for i in range(4):
            info, row = dataset.get_data_info(i), first + (i if part == 'test' else 0)
            np.testing.assert_allclose(info['gt_vertices'], freihand.truth['vertices'][row], atol=1e-6)
            np.testing.assert_allclose(info['gt_joints'], freihand.truth['joints'][row], atol=1e-6)


def test_packed_crop_of_a_freihand_image_is_the_image(freihand):
    dataset = load(freihand.out / 'freihand_test.npz', freihand.source, 'mano', pipeline=TEST_PIPELINE, test_mode=True)
    batch = pseudo_collate([dataset[i] for i in range(2)])
    image = cv2.imread(str(freihand.source / 'evaluation/rgb/00000001.jpg'))
    assert torch.equal(batch['inputs'][1], torch.from_numpy(image).permute(2, 0, 1))
    sample = batch['data_samples'][1]
    assert sample.metainfo['sample_idx'] == 1
    assert sample.metainfo['img_path'].endswith('00000001.jpg')
    assert sample.gt_vertices.shape == (778, 3)
    assert sample.gt_joints.shape == (21, 3)
    projected = sample.gt_joints @ torch.tensor([[480.0, 0, 112], [0, 480, 112], [0, 0, 1]]).T
    torch.testing.assert_close(sample.keypoints2d[:, :2], projected[:, :2] / projected[:, 2:], atol=1e-2, rtol=0)
    assert sample.has_keypoints2d.tolist() == [1]
    assert sample.betas.shape == (10,)


def test_indices_and_serialisation_change_no_sample(freihand):
    options = dict(pipeline=[], test_mode=True)
    path = freihand.out / 'freihand_test.npz'
    plain = load(path, freihand.source, 'mano', serialize_data=False, **options)
    two = load(path, freihand.source, 'mano', indices=[1, 3], **options)
    for mine, row in zip((two[0], two[1]), (1, 3), strict=True):
        for key, value in plain[row].items():
            if key != 'sample_idx':
                np.testing.assert_array_equal(mine[key], value, err_msg=key)


def test_records_do_not_hold_the_vertices(freihand):
    dataset = load(freihand.out / 'freihand_test.npz', freihand.source, 'mano', test_mode=True)
    assert len(dataset.data_bytes) / len(dataset) < 4000  # 778 vertices alone are 9336 bytes


def test_type_is_found_from_the_root_registry(freihand):
    config = dict(
        type='mogapose.HumanDataDataset',
        ann_file='out/freihand_val.npz',
        convention='mano',
        data_root=str(freihand.out.parent),
        data_prefix=dict(img='source'),
        pipeline=TEST_PIPELINE,
    )
    dataset = ROOT_DATASETS.build(config)
    assert isinstance(dataset, HumanDataDataset)
    assert dataset[0]['inputs'].shape == (3, 224, 224)


# --- faces


def test_face_samples(ffhq):
    dataset = load(ffhq.out / 'ffhq_flame_train.npz', ffhq.source, 'flame')
    info = dataset.get_data_info(2)
    shapes = dict(keypoints2d=(73, 3), global_orient=(1, 3), jaw_pose=(1, 3), betas=(100,), expression=(50,))
    for name, shape in shapes.items():
        assert info[name].shape == shape
        assert info[f'has_{name}'] == 1
    np.testing.assert_allclose(info['expression'], ffhq.truth['expression'][2], atol=1e-6)
    np.testing.assert_allclose(info['keypoints2d'][:, :2], ffhq.truth['keypoints2d'][2], atol=1e-5)
    assert info['has_keypoints3d'] == 0
    assert (info['keypoints3d'] == 0).all()
    assert info['keypoints3d'].shape == (73, 4)


def test_faces_that_are_tested_have_scans(stirling):
    path = stirling.out / 'stirling_ESRC3D_HQ.npz'
    dataset = load(path, stirling.source, 'flame', pipeline=TEST_PIPELINE, test_mode=True)
    for i, subject in enumerate(('F1001', 'F1001', 'M1002', 'M1002')):
        vertices, landmarks = stirling.truth[subject]
        sample = dataset[i]['data_samples']
        np.testing.assert_allclose(sample.scan_vertices, vertices, atol=1e-4)
        np.testing.assert_allclose(sample.scan_landmarks, landmarks, atol=1e-4)
        assert sample.has_keypoints3d.tolist() == [0]
        assert (sample.keypoints3d == 0).all()
    assert dataset.get_data_info(1)['center'].tolist() == [35.5, 31.5]
    assert dataset.get_data_info(1)['scale'].tolist() == [71, 71]


def test_mmhuman3ds_copies_of_scans_are_kept_once(tmp_path, stirling):
    names = ['F1001_0', 'F1001_1', 'M1002_0']
    scans, landmarks = np.empty(3, object), []
    for i, name in enumerate(names):
        scans[i] = stirling.truth[name[:5]][0]
        landmarks.append(np.concatenate((stirling.truth[name[:5]][1], np.ones((7, 1))), 1))
    write_human_data(
        tmp_path / 'a.npz',
        [f'{name}.jpg' for name in names],
        np.tile(BOXES, (3, 1)),
        slots=FACE3D_SLOTS,
        keypoints3d=np.array(landmarks),
        vertices=scans,
    )
    dataset = load(tmp_path / 'a.npz', stirling.source / 'Subset_2D_FG2018/HQ', 'flame', test_mode=True)
    assert len(dataset._scans) == 2
    for i, name in enumerate(names):
        info = dataset.get_data_info(i)
        np.testing.assert_allclose(info['scan_vertices'], stirling.truth[name[:5]][0], atol=1e-4)
        np.testing.assert_allclose(info['scan_landmarks'], stirling.truth[name[:5]][1], atol=1e-4)


def test_a_file_of_scans_elsewhere_is_not_followed(one):
    text = error_of(
        one,
        'flame',
        FACE3D_SLOTS,
        keypoints3d=points(FACE3D_SLOTS, 4),
        subject=np.array(['x']),
        scan_file=np.array('../../x.npz'),
        options=dict(test_mode=True),
    )
    assert "a.npz: scan_file is '../../x.npz', where the name of a file beside it is expected" in text


# --- bodies


def test_body_samples_and_what_they_lack(one):
    slots = SLOTS['smplx']
    smplx = dict(body_pose=np.ones((1, 21, 3)), betas=np.arange(300.0)[None])
    info = one('smplx', slots, keypoints2d=points(slots), smplx=smplx).get_data_info(0)
    shapes = dict(
        keypoints2d=(144, 3),
        keypoints3d=(144, 4),
        global_orient=(1, 3),
        body_pose=(21, 3),
        jaw_pose=(1, 3),
        left_hand_pose=(15, 3),
        right_hand_pose=(15, 3),
        betas=(10,),
        expression=(10,),
    )
    there = {'keypoints2d', 'body_pose', 'betas'}
    for name, shape in shapes.items():
        assert info[name].shape == shape, name
        assert info[f'has_{name}'] == (name in there), name
        assert (info[name] == 0).all() == (name not in there), name
    assert info['betas'].tolist() == list(range(10))
    assert info['center'].tolist() == [10, 15]
    assert info['scale'].tolist() == [30, 30]


def test_numbers_of_coefficients_can_be_chosen(one):
    smplx = dict(betas=np.arange(20.0)[None], expression=np.arange(20.0)[None])
    for convention, slots in (('flame', FLAME_SLOTS), ('smplx', SLOTS['smplx'])):
        options = dict(num_betas=7, num_expression=5)
        info = one(convention, slots, keypoints2d=points(slots), smplx=smplx, options=options).get_data_info(0)
        assert info['betas'].tolist() == list(range(7))
        assert info['expression'].tolist() == list(range(5))
    text = error_of(one, 'flame', FLAME_SLOTS, keypoints2d=points(FLAME_SLOTS), smplx=smplx)
    assert 'a.npz: smplx.betas has 20 numbers, where 100 are expected' in text


# --- errors


def test_left_hands_are_refused_where_right_ones_are_expected(one):
    slots = (20, *range(25, 40), *range(66, 71))
    assert "keypoints2d are those of left hands; convention 'mano' is of right hands" in error_of(
        one, slots=slots, keypoints2d=points(slots)
    )
    text = error_of(one, keypoints2d=points(), smplx=dict(left_hand_pose=np.ones((1, 15, 3))))
    assert 'a.npz: smplx has left_hand_pose alone' in text


def test_joints_of_another_part_are_refused(one):
    text = error_of(one, slots=range(76, 144), keypoints2d=points(range(68)))
    assert "a.npz: keypoints2d has 0 of the 21 joints of convention 'mano': is it of another part" in text
    text = error_of(one, slots=HAND_SLOTS[:20], keypoints2d=points(range(20)))
    assert 'a.npz: keypoints2d has 20 of the 21 joints' in text
    assert one('smplx', slots=range(76, 144), keypoints2d=points(range(68))).get_data_info(0)['has_keypoints2d'] == 1


def test_nothing_to_train_on_is_refused_but_not_in_tests(one):
    assert 'a.npz: has neither keypoints2d nor smplx' in error_of(one)
    info = one(options=dict(test_mode=True)).get_data_info(0)
    assert info['has_keypoints2d'] == info['has_betas'] == 0


def test_truth_that_does_not_fit_is_refused(one):
    content = dict(keypoints2d=points(), keypoints3d=points(columns=4))
    text = error_of(one, **content, gt_vertices=np.zeros((1, 778, 3)), gt_index=np.array([1]))
    assert 'a.npz: gt_vertices has 1 rows, too few for its images' in text
    text = error_of(one, **content, gt_vertices=np.zeros((1, 700, 3)))
    assert 'a.npz: gt_vertices has shape 1 x 700 x 3, where any x 778 x 3 is expected' in text
    found = one(**content, gt_vertices=np.full((1, 778, 3), 0.5)).get_data_info(0)
    assert (found['gt_vertices'] == 0.5).all()
    assert (found['gt_joints'] == 1).all()


def test_missing_images_are_counted(freihand, tmp_path):
    shutil.copytree(freihand.source / 'evaluation', tmp_path / 'evaluation')
    (tmp_path / 'evaluation/rgb/00000002.jpg').unlink()
    path = freihand.out / 'freihand_test.npz'
    text = error_of(load, path, tmp_path, 'mano')
    assert f'{tmp_path}/evaluation/rgb/00000002.jpg does not exist; {path} names 1 such of 4 images' in text
    assert 'names 4 such of 4 images' in error_of(load, path, tmp_path / 'no', 'mano')


def test_a_broken_image_is_named(freihand, tmp_path):
    shutil.copytree(freihand.source / 'evaluation', tmp_path / 'evaluation')
    (tmp_path / 'evaluation/rgb/00000002.jpg').write_bytes(b'no image')
    dataset = load(freihand.out / 'freihand_test.npz', tmp_path, 'mano', pipeline=TEST_PIPELINE)
    assert dataset[1]['inputs'].shape == (3, 224, 224)
    text = error_of(dataset.__getitem__, 2)
    assert '00000002.jpg cannot be read as an image' in text


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (dict(convention='hand'), "convention='hand': expected mano, flame, smplx"),
        (dict(convention='mano', data_prefix=dict(img_path='x')), 'expected dict.img=FOLDER'),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        HumanDataDataset(ann_file='a.npz', **options)
