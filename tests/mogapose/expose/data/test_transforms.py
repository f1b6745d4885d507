"""Transforms: 2D and 3D labels stay consistent, and random numbers follow the recipe's distributions."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.registry import TRANSFORMS as ROOT_TRANSFORMS

from helpers.cases import for_each
from mogapose.expose.body_models.layers import FLAME, SMPLX
from mogapose.expose.data.transforms import crop_transform
from mogapose.expose.models import conventions
from mogapose.expose.models.rotation import axis_angle_to_matrix
from mogapose.expose.registry import TRANSFORMS

WIDTH, HEIGHT = 100, 80


def build(name, **options):
    return TRANSFORMS.build(dict(type=name, **options))


def sample(convention='smplx') -> dict:
    """A sample with every label of its convention, none of them symmetric."""
    random = np.random.default_rng(0)
    count = len(conventions.SLOTS[convention])
    found = dict(
        img=random.integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8),
        convention=convention,
        center=np.array([45.0, 30.0]),
        scale=np.array([40.0, 40.0]),
        keypoints2d=random.uniform(1, 70, (count, 3)),
        keypoints3d=random.normal(size=(count, 4)),
        global_orient=random.normal(size=(1, 3)),
        betas=random.normal(size=10),
        has_global_orient=1.0,
    )
    poses = dict(
        mano=dict(right_hand_pose=15),
        flame=dict(jaw_pose=1),
        smplx=dict(jaw_pose=1, body_pose=21, left_hand_pose=15, right_hand_pose=15),
    )[convention]
    for name, joints in poses.items():
        found[name] = random.normal(size=(joints, 3))
        found[f'has_{name}'] = 1.0
    if convention != 'mano':
        found['expression'] = random.normal(size=10)
        found['has_expression'] = 1.0
    return {
        key: value.astype(np.float32)
        if isinstance(value, np.ndarray) and value.dtype == float and key not in ('center', 'scale')
        else value
        for key, value in found.items()
    }


def copy_of(results):
    return {key: value.copy() if isinstance(value, np.ndarray) else value for key, value in results.items()}


def assert_same(found, wanted, keys=None, **tolerance):
    for key in wanted if keys is None else keys:
        if isinstance(wanted[key], np.ndarray):
            np.testing.assert_allclose(found[key], wanted[key], err_msg=key, **tolerance)
        else:
            assert found[key] == wanted[key], key


EVERY_STEP = [
    dict(type='BBoxCenterJitter', factor=0.2),
    dict(type='RandomHorizontalFlip', flip_prob=1),
    dict(type='GetRandomScaleRotation', rot_factor=30, scale_factor=0.2, rot_prob=1),
    dict(type='MeshAffine', img_res=32),
    dict(type='RandomChannelNoise', noise_factor=0.4),
    dict(type='SimulateLowRes', cat_factors=(2.0, 4.0)),
    dict(type='PackExPoseInputs'),
]


def test_names_are_found_in_the_scope_and_do_not_hide_those_of_others():
    for step in [dict(type='LoadImageFromFile'), *EVERY_STEP]:
        assert type(ROOT_TRANSFORMS.build(dict(step, type=f'mogapose.{step["type"]}'))).__name__ == step['type']


@for_each(EVERY_STEP)
def test_a_step_leaves_what_it_was_given_as_it_was(step):
    given = sample()
    before = copy_of(given)
    TRANSFORMS.build(step)(given)
    assert_same(given, before)
    assert given.keys() == before.keys()


# --- crop


def test_crop_of_a_whole_square_image_is_the_image():
    image = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)
    given = dict(sample('mano'), img=image, center=np.array([112.0, 112.0]), scale=np.array([224.0, 224.0]))
    found = build('MeshAffine', img_res=224)(given)
    assert np.array_equal(found['img'], image)
    np.testing.assert_allclose(found['crop_transform'], [[1, 0, 0], [0, 1, 0]], atol=1e-12)
    assert_same(found, given, ['keypoints2d', 'keypoints3d', 'global_orient'], atol=1e-5)


def test_crop_takes_the_square_to_the_corners():
    found = build('MeshAffine', img_res=64)(dict(sample(), rotation=0.0))
    # The middle (45, 30) and the side 40 by hand: 64 / 40 = 1.6 pixels of the crop for one of the image.
    np.testing.assert_allclose(found['crop_transform'], [[1.6, 0, 32 - 1.6 * 45], [0, 1.6, 32 - 1.6 * 30]], atol=1e-5)
    assert found['img'].shape == (64, 64, 3)
    assert found['img'].dtype == np.uint8
    beyond = build('MeshAffine', img_res=64)(dict(sample(), center=np.array([-200.0, 0.0]), rotation=0.0))
    assert (beyond['img'] == 0).all()


def test_points_that_are_not_seen_are_not_moved():
    given = sample()
    given['keypoints2d'][3] = 7, 8, 0
    found = build('MeshAffine', img_res=64)(given)
    assert found['keypoints2d'][3].tolist() == [7, 8, 0]
    assert abs(found['keypoints2d'][4, 0] - given['keypoints2d'][4, 0]) > 1


def test_image_and_points_move_together():
    image = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    cv2.circle(image, (50, 25), 2, (255, 255, 255), -1)
    given = dict(sample(), img=image, rotation=37.0)
    given['keypoints2d'][0] = 50, 25, 1
    found = build('MeshAffine', img_res=128)(given)
    rows, columns = np.nonzero(found['img'][..., 0] > 127)
    np.testing.assert_allclose([columns.mean(), rows.mean()], found['keypoints2d'][0, :2], atol=0.3)


@pytest.mark.parametrize('degrees', [90, -30])
def test_positive_rotation_turns_the_picture_counter_clockwise(degrees):
    matrix = crop_transform(np.array((10, 20)), 50, degrees, 50)
    angle = np.deg2rad(degrees)
    right = matrix @ (11, 20, 1) - matrix @ (10, 20, 1)
    np.testing.assert_allclose(right, (np.cos(angle), -np.sin(angle)), atol=1e-5)
    np.testing.assert_allclose(matrix @ (10, 20, 1), (25, 25), atol=1e-5)


# --- rotation


def test_rotation_keeps_projected_points_on_the_2d_points():
    """If a weak perspective camera projects the 3D points to the 2D points of a sample, so does one for its crop."""
    given = sample()
    given['keypoints2d'][:, :2] = 20 * given['keypoints3d'][:, :2] + (40, 35)
    given['keypoints2d'][:, 2] = 1
    found = build('MeshAffine', img_res=64)(dict(given, rotation=25.0))
    points = found['keypoints3d'][:, :2]
    offsets = found['keypoints2d'][:, :2] - 20 * (64 / 40) * points
    np.testing.assert_allclose(offsets, np.broadcast_to(offsets[0], offsets.shape), atol=1e-3)
    np.testing.assert_allclose(found['keypoints3d'][:, 2:], given['keypoints3d'][:, 2:])


def test_rotation_turns_the_pose_with_the_points(body_models):
    model = SMPLX(body_models / 'smplx/SMPLX_NEUTRAL.npz')
    given = sample()
    given['keypoints3d'][:, :3] = pose(model, given)
    found = build('MeshAffine', img_res=64)(dict(given, rotation=-50.0))
    # Root rotation and rotated pose agree up to the position of the root joint.
    assert_same_up_to_translation(pose(model, found), found['keypoints3d'][:, :3])
    unturned = dict(found, global_orient=given['global_orient'])
    with pytest.raises(AssertionError):
        assert_same_up_to_translation(pose(model, unturned), found['keypoints3d'][:, :3])


def test_truth_turns_with_the_labels():
    given = dict(sample('mano'), gt_joints=np.eye(3, dtype=np.float32), gt_vertices=np.eye(3, dtype=np.float32))
    found = build('MeshAffine', img_res=64)(dict(given, rotation=90.0))
    for name in ('gt_joints', 'gt_vertices'):
        np.testing.assert_allclose(found[name], [[0, -1, 0], [1, 0, 0], [0, 0, 1]], atol=1e-6)


def test_opposite_rotations_cancel():
    given = sample()
    there = build('MeshAffine', img_res=64)(dict(given, rotation=33.0))
    back = build('MeshAffine', img_res=64)(dict(there, rotation=-33.0))
    assert_same(back, given, ['keypoints3d', 'global_orient'], atol=1e-5)


def pose(model, results):
    """Joints of a body model for a sample's rotations; other parameters are zero."""
    tensors = {
        name: axis_angle_to_matrix(torch.from_numpy(results[name]))[None] for name in model.POSES if name in results
    }
    with torch.no_grad():
        return model(**tensors)['joints'][0].numpy()


def assert_same_up_to_translation(found, wanted):
    np.testing.assert_allclose(found - found[0], wanted - wanted[0], atol=1e-5)


# --- flip


@pytest.mark.parametrize('convention', ['flame', 'smplx'])
def test_flip_twice_is_the_identity_but_for_the_expression(convention):
    given = sample(convention)
    flip = build('RandomHorizontalFlip', flip_prob=1)
    twice = flip(flip(given))
    assert_same(twice, given, [key for key in given if key not in ('expression', 'has_expression')], atol=1e-5)
    assert (twice['expression'] == 0).all()
    assert twice['has_expression'] == 0
    once = flip(given)
    assert (once['expression'] == 0).all()
    assert once['has_expression'] == 0
    assert once['flipped'] is True


def test_flip_mirrors_image_points_and_centre_alike():
    given = sample('flame')
    found = build('RandomHorizontalFlip', flip_prob=1)(given)
    assert np.array_equal(found['img'][:, 0], given['img'][:, WIDTH - 1])
    assert found['center'].tolist() == [99 - 45, 30]
    left, right = conventions.FLAME_FLIP_PAIRS[0]
    np.testing.assert_allclose(found['keypoints2d'][left, 0], 99 - given['keypoints2d'][right, 0], atol=1e-5)
    np.testing.assert_allclose(found['keypoints2d'][right, 1:], given['keypoints2d'][left, 1:])
    np.testing.assert_allclose(found['keypoints3d'][left], given['keypoints3d'][right] * (-1, 1, 1, 1))
    np.testing.assert_allclose(found['jaw_pose'], given['jaw_pose'] * (1, -1, -1))
    assert np.array_equal(found['betas'], given['betas'])


@pytest.mark.parametrize('kind', ['flame', 'smplx'])
def test_flip_turns_the_pose_into_that_of_the_mirrored_points(kind, body_models):
    """On a model that is its own mirror image, posing with the flipped pose gives the flipped joints."""
    model = symmetric(FLAME if kind == 'flame' else SMPLX, body_models, kind)
    given = sample(kind)
    joints = range(5) if kind == 'flame' else range(55)
    given['keypoints3d'][joints, :3] = pose(model, given)[joints]
    found = build('RandomHorizontalFlip', flip_prob=1)(given)
    np.testing.assert_allclose(pose(model, found)[joints], found['keypoints3d'][joints, :3], atol=1e-5)


def symmetric(model, body_models, kind):
    """A model whose rest joints are mirrored exactly."""
    file = dict(flame='flame/FLAME_NEUTRAL.npz', smplx='smplx/SMPLX_NEUTRAL.npz')[kind]
    built = model(body_models / file)
    joints = built.j_template
    order = torch.arange(len(joints))
    for left, right in conventions.FLIP_PAIRS[kind]:
        if max(left, right) < len(joints):
            order[[left, right]] = torch.tensor([right, left])
    joints.copy_((joints + joints[order] * torch.tensor([-1.0, 1, 1])) / 2)
    return built


def test_flip_swaps_flags_of_hands():
    given = dict(sample(), has_left_hand_pose=0.0)
    found = build('RandomHorizontalFlip', flip_prob=1)(given)
    assert (found['has_left_hand_pose'], found['has_right_hand_pose']) == (1, 0)


def test_right_hands_are_not_flipped():
    given = sample('mano')
    assert build('RandomHorizontalFlip', flip_prob=0)(given)['flipped'] is False
    with pytest.raises(ValueError, match='would make left hands of right ones: set flip_prob=0'):
        build('RandomHorizontalFlip', flip_prob=1)(given)


def test_share_of_flips():
    flip = build('RandomHorizontalFlip', flip_prob=0.25)
    given = sample()
    share = np.mean([flip(given)['flipped'] for _ in range(2000)])
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 2000)


# --- random numbers


def test_centre_moves_uniformly_and_stays_in_the_image():
    jitter = build('BBoxCenterJitter', factor=0.2)
    given = sample()
    moves = np.array([jitter(given)['center'] - given['center'] for _ in range(2000)])
    assert np.abs(moves).max() <= 8
    assert np.abs(moves).max() > 7.9
    np.testing.assert_allclose(moves.mean(0), 0, atol=0.5)
    np.testing.assert_allclose(moves.std(0), 16 / np.sqrt(12), rtol=0.05)
    assert abs(np.corrcoef(moves.T)[0, 1]) < 0.1
    at_the_edge = dict(given, center=np.array([WIDTH - 1.0, 1.0]))
    centers = np.array([jitter(at_the_edge)['center'] for _ in range(50)])
    assert centers[:, 0].max() == WIDTH
    assert centers[:, 1].min() == 0
    assert build('BBoxCenterJitter')(given)['center'] is given['center']


def test_draws_are_those_of_the_recipe():
    """The explicit formulas with the same seed: scale, rotation, and the choice to rotate."""
    given = sample()
    step = build('GetRandomScaleRotation', rot_factor=10, scale_factor=0.1, rot_prob=0.5)
    np.random.seed(3)
    found = [step(given) for _ in range(200)]
    np.random.seed(3)
    for each in found:
        factor = min(max(np.random.randn() * 0.1 + 1, 0.9), 1.1)
        rotation = min(max(np.random.randn() * 10, -20), 20)
        rotated = np.random.rand() <= 0.5
        np.testing.assert_allclose(each['scale'], 40 * factor)
        np.testing.assert_allclose(each['rotation'], rotation if rotated else 0)
    rotations = np.array([each['rotation'] for each in found])
    scales = np.array([each['scale'][0] for each in found])
    assert rotations.max() == 20
    assert abs((rotations == 0).mean() - 0.5) < 0.15
    assert scales.min() == pytest.approx(36)
    assert scales.max() == pytest.approx(44)


def test_channel_noise_saturates():
    image = np.full((4, 4, 3), 200, np.uint8)
    step = build('RandomChannelNoise', noise_factor=0.4)
    np.random.seed(0)
    found = step(dict(img=image))['img']
    np.random.seed(0)
    factors = np.random.uniform(0.6, 1.4, (1, 3))[0]
    assert found.dtype == np.uint8
    assert found[0, 0].tolist() == [min(round(200 * factor), 255) for factor in factors]
    many = np.array([step(dict(img=image))['img'][0, 0] for _ in range(200)])
    assert many.max() == 255
    assert many.min() < 130
    assert many.min() >= 120
    assert (build('RandomChannelNoise', noise_factor=0)(dict(img=image))['img'] == image).all()


def test_low_resolution_is_bilinear_both_ways():
    image = sample()['img']
    found = build('SimulateLowRes', cat_factors=(3.0, 3.0))(dict(img=image))['img']
    small = cv2.resize(image, (33, 26), interpolation=cv2.INTER_LINEAR)
    assert np.array_equal(found, cv2.resize(small, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR))
    assert build('SimulateLowRes')(dict(img=image))['img'] is image


def test_low_resolution_draws_each_factor_equally():
    step = build('SimulateLowRes', cat_factors=(1.0, 2.0, 4.0))
    image = sample()['img']
    wanted = {build('SimulateLowRes', cat_factors=(f, f))(dict(img=image))['img'].tobytes(): f for f in (1, 2, 4)}
    drawn = [wanted[step(dict(img=image))['img'].tobytes()] for _ in range(300)]
    assert all(abs(drawn.count(factor) - 100) < 40 for factor in (1, 2, 4))


# --- in and out


def test_images_are_read_as_bgr(tmp_path):
    path = str(tmp_path / 'a.png')
    image = sample()['img']
    cv2.imwrite(path, image)
    found = build('LoadImageFromFile')(dict(img_path=path))
    assert np.array_equal(found['img'], image)
    assert found['ori_shape'] == (HEIGHT, WIDTH)
    (tmp_path / 'a.png').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'a\.png is missing or cannot be read'):
        build('LoadImageFromFile')(dict(img_path=path))


def test_packed_samples_hold_tensors_and_what_they_came_from():
    given = dict(sample(), img_path='x.jpg', sample_idx=5, dataset='y', has_betas=0.0)
    found = build('PackExPoseInputs')(build('MeshAffine', img_res=32)(given))
    inputs, packed = found['inputs'], found['data_samples']
    assert inputs.dtype == torch.uint8
    assert inputs.shape == (3, 32, 32)
    assert packed.metainfo['img_path'] == 'x.jpg'
    assert packed.metainfo['sample_idx'] == 5
    assert packed.metainfo['crop_transform'].shape == (2, 3)
    assert packed.metainfo['rotation'] == 0
    assert packed.keypoints2d.shape == (144, 3)
    assert packed.keypoints3d.shape == (144, 4)
    assert packed.left_hand_pose.shape == (15, 3)
    assert packed.betas.shape == (10,)
    assert packed.has_betas.tolist() == [0]
    assert packed.has_jaw_pose.tolist() == [1]
    fields = packed.keys()
    for name in fields:
        assert packed.get(name).dtype == torch.float32, name
    assert {'img', 'center', 'scale', 'crop_transform'} & set(fields) == set()
