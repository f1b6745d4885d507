"""Orders of joints: literals from the descriptions of the data sets, and consistent names and pairs."""

import pytest

from mogapose.expose.models import conventions as c

SMPLX_144 = (
    *c.SMPLX_55,
    *c.SMPLX_VERTEX_JOINTS,
    *(f'face_{i}' for i in range(17, 68)),
    *(f'face_{i}' for i in range(17)),
)


def test_freihand_goes_from_the_wrist_along_each_finger():
    assert len(c.FREIHAND_21) == 21
    assert [c.FREIHAND_21[i] for i in (0, 1, 4, 5, 8, 12, 16, 20)] == [
        'wrist',
        'thumb_1',
        'thumb_tip',
        'index_1',
        'index_tip',
        'middle_tip',
        'ring_tip',
        'pinky_tip',
    ]


def test_mano_joints_and_tips_map_to_freihand_by_name():
    mano = ['wrist', *(f'{finger}_{i}' for finger in c.MANO_FINGERS for i in (1, 2, 3))]
    mano += [f'{finger}_tip' for finger in c.FINGERS]
    assert tuple(mano[i] for i in c.MANO_TO_FREIHAND) == c.FREIHAND_21


def test_tips_are_freihands_vertices():
    assert dict(zip(c.FINGERS, c.MANO_TIP_VERTICES, strict=True)) == dict(
        thumb=744, index=320, middle=443, ring=555, pinky=672
    )


def test_slots_are_those_of_human_data():
    assert c.HAND_SLOTS[:2] == (21, 40)
    assert c.HAND_SLOTS[15:] == (54, 71, 72, 73, 74, 75)
    assert len(c.HAND_SLOTS) == 21
    assert c.FLAME_SLOTS[:6] == (15, 12, 22, 57, 56, 76)
    assert c.FLAME_SLOTS[-1] == 143
    assert len(c.FLAME_SLOTS) == 73
    assert c.SMPLX_SLOTS[-1] == 143


def test_slots_name_the_right_parts():
    assert len(SMPLX_144) == 144
    assert SMPLX_144[c.HAND_SLOTS[0]] == 'right_wrist'
    assert SMPLX_144[c.HAND_SLOTS[1]] == 'right_index_1'
    assert [SMPLX_144[i] for i in c.HAND_SLOTS[16:]] == [f'right_{finger}_tip' for finger in c.FINGERS]
    assert [SMPLX_144[i] for i in c.FLAME_SLOTS[:5]] == ['head', 'neck', 'jaw', 'left_eye', 'right_eye']


def test_seven_points_of_a_scan_are_corners_nose_and_mouth():
    assert tuple(c.FLAME_SLOTS[i] for i in c.FACE3D_IN_FLAME) == c.FACE3D_SLOTS
    # In the usual 68: outer and inner right eye, inner and outer left eye, below the nose, corners of the mouth.
    assert [SMPLX_144[i] for i in c.FACE3D_SLOTS] == [f'face_{i}' for i in (36, 39, 42, 45, 33, 48, 54)]


@pytest.mark.parametrize(
    ('convention', 'in_the_middle'),
    [
        # root, neck, jaw; nose; lips; chin
        ('flame', 3 + 5 + 4 + 1),
        # trunk with neck and head; jaw, tip of the nose; nose; lips; chin
        ('smplx', 6 + 2 + 5 + 4 + 1),
    ],
)
def test_a_mirrored_point_has_one_partner_or_is_in_the_middle(convention, in_the_middle):
    points = [point for pair in c.FLIP_PAIRS[convention] for point in pair]
    assert len(points) == len(set(points)) == len(c.SLOTS[convention]) - in_the_middle


def test_pairs_of_the_body_are_left_and_right_of_the_same():
    for left, right in c.SMPLX_FLIP_PAIRS:
        if left < 76:
            assert SMPLX_144[left].replace('left', 'right') == SMPLX_144[right]


def test_pairs_of_the_face_agree_between_flame_and_the_body():
    body = {frozenset(pair) for pair in c.SMPLX_FLIP_PAIRS}
    for pair in c.FLAME_FLIP_PAIRS:
        assert frozenset(c.FLAME_SLOTS[i] for i in pair) in body


def test_parts_leave_out_wrist_and_neck():
    assert len(c.JOINT_GROUPS['mano']['right_hand']) == 20
    assert 0 not in c.JOINT_GROUPS['mano']['right_hand']
    assert len(c.JOINT_GROUPS['flame']['face']) == 72
    assert 1 not in c.JOINT_GROUPS['flame']['face']
    assert {SMPLX_144[i].split('_')[0] for i in c.JOINT_GROUPS['smplx']['left_hand']} == {'left'}
    face = {SMPLX_144[i] for i in c.JOINT_GROUPS['smplx']['face']}
    assert len(face) == 68 + 9
    assert {'head', 'jaw', 'nose', 'left_ear', 'face_0'} < face
    assert 'neck' not in face
    assert set(c.JOINT_GROUPS['smplx']['right_hand']) == set(c.HAND_SLOTS) - {21}
