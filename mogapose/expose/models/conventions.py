"""Orders of joints and key points: those that each body model returns, and their slots among HumanData's 190.

* FreiHAND, 21: the wrist, then thumb, index, middle, ring and little finger from the knuckle to the tip.
* FLAME, 73: root, neck, jaw, left and right eye, 51 landmarks (17 to 67 of the usual 68), 17 points of the contour.
* SMPL-X, 144: 55 joints, 21 vertices (nose to finger tips), 51 landmarks, 17 points of the contour.
* HumanData, 190: the first 144 are SMPL-X's.

Left and right are the person's own. A slot is an index among HumanData's 190 key points.
"""

FINGERS = ('thumb', 'index', 'middle', 'ring', 'pinky')
FREIHAND_21 = ('wrist', *(f'{finger}_{part}' for finger in FINGERS for part in ('1', '2', '3', 'tip')))

# MANO's joints: the wrist, then three joints of each finger in this order. The vertices at the tips, in the order of
# FINGERS, are those that FreiHAND uses.
MANO_FINGERS = ('index', 'middle', 'pinky', 'ring', 'thumb')
MANO_TIP_VERTICES = (744, 320, 443, 555, 672)
# Indices that reorder MANO's 16 joints and five tips to FreiHAND's order.
MANO_TO_FREIHAND = (0, 13, 14, 15, 16, 1, 2, 3, 17, 4, 5, 6, 18, 10, 11, 12, 19, 7, 8, 9, 20)

_FINGER_JOINTS = tuple(f'{finger}_{part}' for finger in MANO_FINGERS for part in (1, 2, 3))
# fmt: off
SMPLX_55 = (
    'pelvis', 'left_hip', 'right_hip', 'spine_1', 'left_knee', 'right_knee', 'spine_2', 'left_ankle', 'right_ankle',
    'spine_3', 'left_foot', 'right_foot', 'neck', 'left_collar', 'right_collar', 'head', 'left_shoulder',
    'right_shoulder', 'left_elbow', 'right_elbow', 'left_wrist', 'right_wrist', 'jaw', 'left_eyeball', 'right_eyeball',
    *(f'left_{name}' for name in _FINGER_JOINTS), *(f'right_{name}' for name in _FINGER_JOINTS),
)
# The vertices of SMPL-X that count as joints, in the order in which they follow its 55 joints.
SMPLX_VERTEX_JOINTS = dict(
    nose=9120, right_eye=9929, left_eye=9448, right_ear=616, left_ear=6,
    left_big_toe=5770, left_small_toe=5780, left_heel=8846,
    right_big_toe=8463, right_small_toe=8474, right_heel=8635,
    left_thumb_tip=5361, left_index_tip=4933, left_middle_tip=5058, left_ring_tip=5169, left_pinky_tip=5286,
    right_thumb_tip=8079, right_index_tip=7669, right_middle_tip=7794, right_ring_tip=7905, right_pinky_tip=8022,
)

# The slots that make up each convention. HumanData gives HAND_SLOTS the names of MANO's joints, but the arrays that
# MMHuman3D writes there are in FreiHAND's order: use them as they are and do not reorder them by name.
HAND_SLOTS = (21, *range(40, 55), *range(71, 76))
FLAME_SLOTS = (15, 12, 22, 57, 56, *range(76, 144))
SMPLX_SLOTS = tuple(range(144))
FACE3D_SLOTS = (95, 98, 101, 104, 92, 107, 113)
NUM_HUMAN_DATA = 190

# The seven landmarks of Stirling's scans among FLAME's 73: right eye's outer and inner corner, left eye's inner and
# outer, below the nose, right and left corner of the mouth.
FACE3D_IN_FLAME = (24, 27, 30, 33, 21, 36, 42)

# Pairs of joints that are exchanged in a mirrored picture.
FLAME_FLIP_PAIRS = (
    (3, 4),
    (5, 14), (6, 13), (7, 12), (8, 11), (9, 10),  # brows
    (19, 23), (20, 22),  # nostrils
    (24, 33), (25, 32), (26, 31), (27, 30), (28, 35), (29, 34),  # eyes
    (36, 42), (37, 41), (38, 40), (47, 43), (46, 44), (48, 52), (49, 51), (55, 53),  # mouth
    (56, 72), (57, 71), (58, 70), (59, 69), (60, 68), (61, 67), (62, 66), (63, 65),  # contour
)
# fmt: on
_SMPLX_76 = (*SMPLX_55, *SMPLX_VERTEX_JOINTS)
SMPLX_FLIP_PAIRS = (
    *((i, _SMPLX_76.index(f'right_{name[5:]}')) for i, name in enumerate(_SMPLX_76) if name.startswith('left_')),
    # FLAME's landmarks start at 5, SMPL-X's at 76.
    *((left + 71, right + 71) for left, right in FLAME_FLIP_PAIRS[1:]),
)

# Keyed by the convention that data sets and configs name. A hand has no pairs: its mirror image is the other hand.
SLOTS = dict(mano=HAND_SLOTS, flame=FLAME_SLOTS, smplx=SMPLX_SLOTS)
FLIP_PAIRS = dict(mano=(), flame=FLAME_FLIP_PAIRS, smplx=SMPLX_FLIP_PAIRS)

# Key points whose mean confidence weights the loss of a pose, per convention and group. The wrist is not among the
# fingers, the neck not in the face.
JOINT_GROUPS = dict(
    mano=dict(right_hand=tuple(range(1, 21))),
    flame=dict(face=(0, *range(2, 73))),
    smplx=dict(
        left_hand=(*range(25, 40), *range(66, 71)),
        right_hand=(*range(40, 55), *range(71, 76)),
        face=(15, 22, 23, 24, *range(55, 60), *range(76, 144)),
    ),
)
