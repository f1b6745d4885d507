"""The synthetic body models: closed surfaces with the official sizes, anatomical shapes and poses."""

import numpy as np
import pytest
import torch

from mogapose.expose.body_models.layers import FLAME, MANO, SMPLX
from mogapose.expose.mini.head import Head
from mogapose.expose.mini.synthetic_body_models import FILES, body_model_arrays, write_body_models
from mogapose.expose.models import conventions
from mogapose.expose.models.rotation import axis_angle_to_matrix

# Vertices, faces, open edges (wrist, neck, one hole), joints: the first two and the last are the official ones.
SIZES = dict(mano=(778, 1538, 16, 16), flame=(5023, 9976, 60, 5), smplx=(10475, 20908, 4, 55))
MODELS = dict(mano=MANO, flame=FLAME, smplx=SMPLX)


@pytest.fixture(scope='module')
def models(body_models):
    return {kind: model(body_models / FILES[kind]) for kind, model in MODELS.items()}


@pytest.fixture(scope='module')
def arrays(body_models):
    result = {}
    for kind, name in FILES.items():
        with np.load(body_models / name) as file:
            result[kind] = dict(file)
    return result


def identity():
    return torch.eye(3)[None, None]


def hand_of(models, pose, betas=None):
    rotations = axis_angle_to_matrix(torch.as_tensor(pose, dtype=torch.float32).reshape(1, 15, 3))
    joints = models['mano'](identity(), right_hand_pose=rotations, betas=betas)['joints'][0]
    return dict(zip(conventions.FREIHAND_21, joints, strict=True))


def length(hand, a, b):
    return float((hand[a] - hand[b]).norm())


@pytest.mark.parametrize('kind', SIZES)
def test_surfaces_have_the_official_sizes_and_face_outwards(arrays, kind):
    vertices, faces, open_edges, joints = SIZES[kind]
    a = arrays[kind]
    assert len(a['v_template']) == vertices
    assert len(a['f']) == faces
    assert len(a['J_regressor']) == joints
    edges = np.concatenate((a['f'][:, [0, 1]], a['f'][:, [1, 2]], a['f'][:, [2, 0]]))
    directed = set(map(tuple, edges.tolist()))
    assert len(directed) == len(edges), 'two triangles run along an edge in the same direction'
    assert sum((b, a) not in directed for a, b in directed) == open_edges
    assert len(np.unique(a['f'])) == vertices
    corners = a['v_template'][a['f']].astype(float)
    areas = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1) / 2
    assert areas.min() > 0
    volume = np.einsum('ij,ij->', corners[:, 0], np.cross(corners[:, 1], corners[:, 2])) / 6
    # Litres: a hand with its wrist 0.2 to 0.5, a head with its neck 4 to 6, a person 60 to 90.
    low, high = dict(mano=(0.2, 0.5), flame=(4, 6), smplx=(60, 90))[kind]
    assert low < 1000 * volume < high


@pytest.mark.parametrize('kind', SIZES)
def test_weights_and_regressors_are_means(arrays, kind):
    for key in ('weights', 'J_regressor'):
        assert arrays[kind][key].min() >= 0
        np.testing.assert_allclose(arrays[kind][key].sum(1), 1, atol=1e-5)


@pytest.mark.parametrize('kind', SIZES)
def test_blend_shapes_are_smooth(arrays, kind):
    """Neighbouring vertices move alike: their displacements differ by a small share of their distance."""
    a = arrays[kind]
    edges = np.concatenate((a['f'][:, [0, 1]], a['f'][:, [1, 2]]))
    apart = np.linalg.norm(a['v_template'][edges[:, 0]] - a['v_template'][edges[:, 1]], axis=1)
    moves = a['shapedirs'][..., np.abs(a['shapedirs']).max((0, 1)) > 0]
    assert moves.shape[-1] == dict(mano=10, flame=150, smplx=20)[kind]
    difference = np.linalg.norm(moves[edges[:, 0]] - moves[edges[:, 1]], axis=1)
    assert np.quantile(difference / apart[:, None], 0.99) < 0.5
    assert 0.001 < np.abs(a['posedirs']).max() < 0.005


def test_the_hand_has_natural_proportions(models):
    hand = hand_of(models, np.zeros(45))
    assert 0.17 < length(hand, 'wrist', 'middle_tip') < 0.21
    fingers = {finger: length(hand, f'{finger}_1', f'{finger}_tip') for finger in conventions.FINGERS}
    assert fingers['middle'] > fingers['ring'] > fingers['index'] > fingers['pinky'] > 0.06
    for finger in conventions.FINGERS[1:]:
        bones = [length(hand, f'{finger}_{a}', f'{finger}_{b}') for a, b in (('1', '2'), ('2', '3'), ('3', 'tip'))]
        assert bones[0] > 1.3 * max(bones[1:])
        assert min(bones) > 0.015


def test_the_hand_is_a_right_one(models):
    """Fingers to -x, the thumb to z, and bent fingers go down to -y, the side of the palm."""
    hand = hand_of(models, np.zeros(45))
    for finger in conventions.FINGERS:
        assert hand[f'{finger}_tip'][0] < hand['wrist'][0] - 0.08
    across = [float(hand[f'{finger}_1'][2]) for finger in ('thumb', 'index', 'middle', 'ring', 'pinky')]
    assert across == sorted(across, reverse=True)
    flexion = np.zeros((15, 3))
    flexion[:12, 2] = 1.0
    bent = hand_of(models, flexion)
    for finger in conventions.FINGERS[1:]:
        assert bent[f'{finger}_tip'][1] < hand[f'{finger}_tip'][1] - 0.03
        assert bent[f'{finger}_tip'][0] > hand[f'{finger}_tip'][0] + 0.03


def test_the_mean_pose_is_a_relaxed_hand_and_the_first_component_closes_it(models, arrays):
    mean, components = arrays['mano']['hands_mean'], arrays['mano']['hands_components']
    np.testing.assert_allclose(components @ components.T, np.eye(45), atol=1e-5)
    flat, relaxed = hand_of(models, np.zeros(45)), hand_of(models, mean)
    fist = hand_of(models, mean + 2 * components[0])
    for finger in ('index', 'middle', 'ring', 'pinky'):
        reach = [length(hand, 'wrist', f'{finger}_tip') for hand in (flat, relaxed, fist)]
        assert reach[0] > reach[1] > reach[2]
    np.testing.assert_allclose(models['mano'].hands_mean.numpy().ravel(), mean)


def test_shapes_of_hands_do_what_they_are_named_for(models):
    plain = hand_of(models, np.zeros(45))
    larger = hand_of(models, np.zeros(45), betas=torch.eye(10)[:1])
    ratio = length(larger, 'wrist', 'middle_tip') / length(plain, 'wrist', 'middle_tip')
    assert ratio == pytest.approx(1.05, abs=0.005)
    longer = hand_of(models, np.zeros(45), betas=torch.eye(10)[1:2])
    assert length(longer, 'index_1', 'index_2') / length(plain, 'index_1', 'index_2') == pytest.approx(1.05, abs=0.02)
    assert length(longer, 'wrist', 'index_1') / length(plain, 'wrist', 'index_1') == pytest.approx(1, abs=0.01)


def face_of(models, **inputs):
    return models['flame'](identity(), **inputs)['joints'][0, 5:]


def test_landmarks_lie_where_a_face_has_them(models):
    face = face_of(models)
    mirrored = face * torch.tensor([-1.0, 1, 1])
    partner = list(range(73))
    for left, right in conventions.FLAME_FLIP_PAIRS:
        partner[left], partner[right] = right, left
    # Triangles are not symmetric, points on them nearly.
    torch.testing.assert_close(face, mirrored[[i - 5 for i in partner[5:]]], atol=0.003, rtol=0)
    usual = {number + 17: point for number, point in enumerate(face[:51])}
    brow, eye, nose, lip = usual[19], usual[37], usual[30], usual[57]
    assert brow[1] > eye[1] > nose[1] > usual[33][1] > usual[51][1] > usual[48][1] > lip[1]
    assert nose[2] == face[:, 2].max()
    assert usual[36][0] < usual[39][0] < 0 < usual[42][0] < usual[45][0]
    contour = face[51:]
    assert contour[8][1] == contour[:, 1].min()
    assert abs(contour[8][0]) < 0.002
    assert (contour[1:, 0] > contour[:-1, 0]).all()


def test_the_jaw_opens_the_mouth_and_nothing_above_it(models):
    closed, opened = face_of(models), face_of(models, jaw_pose=axis_angle_to_matrix(torch.tensor([[[0.3, 0, 0]]])))
    upper, lower, chin = 62 - 17, 66 - 17, 51 + 8
    assert (closed[upper] - closed[lower]).norm() < 0.001
    assert opened[upper][1] - opened[lower][1] > 0.015
    assert closed[chin][1] - opened[chin][1] > 0.015
    torch.testing.assert_close(opened[: 36 - 17], closed[: 36 - 17], atol=1e-4, rtol=0)


def test_eyes_are_balls_about_their_joints(models, arrays):
    weights = arrays['flame']['weights']
    joints = models['flame'](identity())['joints'][0].numpy()
    for joint in (3, 4):
        ball = arrays['flame']['v_template'][weights[:, joint] == 1]
        distance = np.linalg.norm(ball - joints[joint], axis=1)
        np.testing.assert_allclose(distance, 0.0135, atol=1e-4)
    assert joints[3][0] > 0.025
    assert joints[4][0] < -0.025


def test_expressions_leave_the_skull_and_the_eyes(models, arrays):
    expression = arrays['flame']['shapedirs'][..., 300:350]
    behind = arrays['flame']['v_template'][:, 2] < -0.01
    eyes = arrays['flame']['weights'][:, 3:].sum(1) == 1
    assert np.abs(expression[behind]).max() < 1e-3
    assert np.abs(expression[eyes]).max() == 0
    assert np.linalg.norm(expression, axis=1).max() > 0.003
    smile = face_of(models, expression=torch.eye(50)[1:2] * 2) - face_of(models)
    assert smile[48 - 17][1] > 0.003
    assert smile[54 - 17][0] > 0.003
    assert smile[48 - 17][0] < -0.003


def test_the_body_stands_with_its_arms_out(models):
    out = models['smplx'](identity())
    joints = dict(zip((*conventions.SMPLX_55, *conventions.SMPLX_VERTEX_JOINTS), out['joints'][0], strict=False))
    height = out['vertices'][0, :, 1].max() - out['vertices'][0, :, 1].min()
    assert 1.6 < height < 1.9
    for side, sign in (('left', 1), ('right', -1)):
        for name in ('hip', 'shoulder', 'wrist', 'index_3', 'eyeball', 'eye', 'ear', 'big_toe', 'thumb_tip'):
            assert sign * joints[f'{side}_{name}'][0] > 0.01, name
        assert joints[f'{side}_big_toe'][2] > joints[f'{side}_heel'][2] + 0.15
        assert sign * joints[f'{side}_middle_tip'][0] > sign * joints[f'{side}_wrist'][0] + 0.15
    up = [
        float(joints[name][1]) for name in ('left_ankle', 'left_knee', 'left_hip', 'pelvis', 'spine_3', 'neck', 'head')
    ]
    assert up == sorted(up)
    assert joints['nose'][2] > joints['head'][2] + 0.08


def test_both_hands_of_the_body_are_mirror_images(models):
    model = models['smplx']
    pose = dict(
        left_hand_pose=axis_angle_to_matrix(model.left_hand_mean[None]),
        right_hand_pose=axis_angle_to_matrix(model.right_hand_mean[None]),
    )
    # Without the pose corrections, whose directions differ at random between the sides.
    model.posedirs, kept = torch.zeros_like(model.posedirs), model.posedirs
    joints = model(identity(), **pose)['joints'][0]
    model.posedirs = kept
    left, right = joints[[20, *range(25, 40), *range(66, 71)]], joints[list(conventions.HAND_SLOTS)]
    torch.testing.assert_close(left * torch.tensor([-1.0, 1, 1]), right, atol=1e-5, rtol=0)


def test_the_same_seed_gives_the_same_numbers_and_another_one_others(arrays):
    again, other = body_model_arrays(seed=0), Head(np.random.default_rng((1, 1))).arrays()
    for kind in FILES:
        for key, value in again[kind].items():
            np.testing.assert_allclose(arrays[kind][key], value, atol=1e-6, err_msg=f'{kind} {key}')
    assert np.abs(other['shapedirs'] - again['flame']['shapedirs']).max() > 1e-3
    np.testing.assert_array_equal(other['v_template'], again['flame']['v_template'])


def test_files_are_written_once(body_models):
    before = {name: (body_models / name).stat().st_mtime_ns for name in FILES.values()}
    assert 'sizes of MANO, FLAME and SMPL-X' in write_body_models(body_models)
    assert before == {name: (body_models / name).stat().st_mtime_ns for name in FILES.values()}
    assert sum((body_models / name).stat().st_size for name in FILES.values()) < 8e6
