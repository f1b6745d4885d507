"""Linear blend skinning: properties of any model, small cases computed by hand, and smplx if it is installed."""

import numpy as np
import pytest
import torch

from helpers.cases import for_each
from helpers.official_body_models import write_flame
from mogapose.expose.body_models.landmarks import contour_row
from mogapose.expose.body_models.layers import FLAME, MANO, SMPLX
from mogapose.expose.models import conventions
from mogapose.expose.models.rotation import axis_angle_to_matrix
from mogapose.expose.registry import MODELS

FILES = {MANO: 'mano/MANO_RIGHT.pkl', FLAME: 'flame/FLAME_NEUTRAL.pkl', SMPLX: 'smplx/SMPLX_NEUTRAL.npz'}
JOINTS = {MANO: 21, FLAME: 73, SMPLX: 144}


@pytest.fixture(scope='module')
def models(body_models):
    return {kind: kind(body_models / file) for kind, file in FILES.items()}


def arrays_of(body_models, kind):
    with np.load((body_models / FILES[kind]).with_suffix('.npz')) as file:
        return {
            key: torch.from_numpy(file[key].astype(np.float64 if file[key].dtype.kind == 'f' else np.int64))
            for key in file.files
        }


def turns(batch, count, size=0.5, dtype=torch.float32):
    return axis_angle_to_matrix(torch.randn(batch, count, 3, dtype=dtype) * size)


def random_pose(model, batch=3, **options):
    return {name: turns(batch, count, **options) for name, count in model.POSES.items()}


def identity(batch=1):
    return torch.eye(3).expand(batch, 1, 3, 3)


@pytest.mark.parametrize('kind', FILES)
def test_the_identity_pose_is_the_template(models, kind, body_models):
    out = models[kind](identity(2))
    template = arrays_of(body_models, kind)['v_template']
    assert out['joints'].shape == (2, JOINTS[kind], 3)
    torch.testing.assert_close(out['vertices'], template.float().expand(2, -1, -1), atol=1e-6, rtol=0)


@pytest.mark.parametrize('kind', FILES)
def test_the_root_turns_everything_about_its_joint(models, kind):
    model = models[kind]
    pose = random_pose(model)
    still = model(**{**pose, 'global_orient': identity(3)})
    turned = model(**pose)
    root = model.j_template[0]
    rotation = pose['global_orient'].mT.squeeze(1)
    torch.testing.assert_close(turned['vertices'], (still['vertices'] - root) @ rotation + root, atol=2e-6, rtol=0)
    # All joints except the contour, which moves over the face as the head turns.
    fixed = slice(None) if kind is MANO else slice(-17)
    torch.testing.assert_close(
        turned['joints'][:, fixed], ((still['joints'] - root) @ rotation + root)[:, fixed], atol=2e-6, rtol=0
    )


@pytest.mark.parametrize('kind', [MANO, FLAME])
def test_every_step_of_the_formula(models, kind, body_models):
    """Loper et al. 2015, joint by joint with homogeneous matrices in float64, one sample."""
    model, a = models[kind], arrays_of(body_models, kind)
    pose = random_pose(model, batch=1, dtype=torch.float64)
    betas = torch.randn(1, model.num_betas, dtype=torch.float64)
    psi = torch.randn(1, model.num_expression, dtype=torch.float64)
    out = model(**pose, betas=betas, expression=psi)
    rotations = torch.cat([pose[name] for name in model.POSES], 1)[0]
    shaped = a['v_template'] + a['shapedirs'][..., : model.num_betas] @ betas[0]
    if model.num_expression:
        shaped = shaped + a['shapedirs'][..., 300 : 300 + model.num_expression] @ psi[0]
    rest = a['J_regressor'] @ shaped
    features = torch.cat([(r - torch.eye(3, dtype=torch.float64)).reshape(9) for r in rotations[1:]])
    bent = shaped + a['posedirs'] @ features
    chain = []
    for joint, rotation in enumerate(rotations):
        local = torch.eye(4, dtype=torch.float64)
        local[:3, :3] = rotation
        parent = int(a['kintree_table'][0, joint])
        local[:3, 3] = rest[joint] - (rest[parent] if joint else 0)
        chain.append(chain[parent] @ local if joint else local)
    expected = torch.zeros_like(bent)
    for joint, world in enumerate(chain):
        moved = (bent - rest[joint]) @ world[:3, :3].T + world[:3, 3]
        expected += a['weights'][:, joint, None] * moved
    torch.testing.assert_close(out['vertices'][0].double(), expected, atol=2e-6, rtol=0)
    joints = out['joints'][0].double()
    first = joints[[0, 5, 6, 7, 9, 10, 11, 17, 18, 19, 13, 14, 15, 1, 2, 3]] if kind is MANO else joints[:5]
    torch.testing.assert_close(first, torch.stack([world[:3, 3] for world in chain]), atol=2e-6, rtol=0)


@pytest.mark.parametrize('kind', FILES)
def test_gradients(body_models, kind):
    """Gradients in float64 of a few vertices and joints with respect to all inputs."""
    numbers = dict(num_betas=2) if kind is MANO else dict(num_betas=2, num_expression=2)
    model = kind(body_models / FILES[kind], **numbers).double()
    inputs = dict(
        global_orient=(1, 1, 3),
        **{'right_hand_pose' if kind is MANO else 'jaw_pose': (1, 15 if kind is MANO else 1, 3)},
    )
    inputs.update({'betas': (1, 2)} if kind is MANO else {'betas': (1, 2), 'expression': (1, 2)})

    def few(*values):
        given = dict(zip(inputs, values, strict=True))
        posed = {name: axis_angle_to_matrix(value) if value.dim() == 3 else value for name, value in given.items()}
        out = model(**posed)
        return out['vertices'][:, ::499], out['joints']

    # Avoid half degrees, at which the contour jumps to its next row.
    values = [(0.1 * torch.randn(shape, dtype=torch.float64)).requires_grad_() for shape in inputs.values()]
    # The fast mode checks random directions: the whole Jacobian of a body takes a minute.
    assert torch.autograd.gradcheck(few, values, fast_mode=kind is not MANO)


def test_a_bend_leaves_what_lies_before_the_joint(models):
    """The last joint of the index finger moves its tip and no other finger."""
    model = models[MANO]
    pose = torch.zeros(1, 15, 3)
    pose[0, 2, 2] = 0.8
    still, bent = model(identity()), model(identity(), right_hand_pose=axis_angle_to_matrix(pose))
    moved = (bent['joints'] - still['joints']).norm(dim=-1)[0]
    tip = conventions.FREIHAND_21.index('index_tip')
    assert moved[tip] > 0.01
    assert moved[[i for i in range(21) if i != tip]].max() < 1e-6


def test_hand_joints_are_in_freihands_order(models, body_models):
    a = arrays_of(body_models, MANO)
    joints = models[MANO](identity())['joints'][0].double()
    rest = a['J_regressor'] @ a['v_template']
    for name, number in (
        ('wrist', 0),
        ('thumb_1', 13),
        ('index_2', 2),
        ('middle_3', 6),
        ('ring_1', 10),
        ('pinky_1', 7),
    ):
        torch.testing.assert_close(joints[conventions.FREIHAND_21.index(name)], rest[number], atol=1e-6, rtol=0)
    tips = dict(thumb=744, index=320, middle=443, ring=555, pinky=672)
    for finger, vertex in tips.items():
        place = conventions.FREIHAND_21.index(f'{finger}_tip')
        torch.testing.assert_close(joints[place], a['v_template'][vertex], atol=1e-6, rtol=0)


def test_face_joints_are_joints_landmarks_and_contour(models, body_models):
    a = arrays_of(body_models, FLAME)
    joints = models[FLAME](identity())['joints'][0].double()
    triangles = a['v_template'][a['f']]
    fixed = (triangles[a['lmk_faces_idx']] * a['lmk_bary_coords'][..., None]).sum(1)
    contour = (triangles[a['dynamic_lmk_faces_idx'][0]] * a['dynamic_lmk_bary_coords'][0][..., None]).sum(1)
    expected = torch.cat((a['J_regressor'] @ a['v_template'], fixed, contour))
    torch.testing.assert_close(joints, expected, atol=1e-6, rtol=0)


def test_the_body_has_its_vertices_between_joints_and_face(models):
    model = models[SMPLX]
    out = model(**random_pose(model, batch=1, size=0.2))
    names = (*conventions.SMPLX_55, *conventions.SMPLX_VERTEX_JOINTS)
    assert names[55] == 'nose'
    assert names[71] == 'right_thumb_tip'
    torch.testing.assert_close(out['joints'][:, 55], out['vertices'][:, 9120])
    torch.testing.assert_close(out['joints'][:, 71], out['vertices'][:, 8079])
    # Both models have the same head: the landmarks differ only by the head's position.
    face = models[FLAME](identity())['joints'][0, 5:56]
    of_body = model(identity())['joints'][0, 76:127]
    torch.testing.assert_close(of_body - of_body[0], face - face[0], atol=3e-6, rtol=0)


@for_each([(0, 0), (0.4, 0), (-10, 10), (-39, 39), (-60, 39), (1, 40), (10.4, 49), (39, 78), (60, 78)])
def test_the_row_of_the_contour_is_the_turn_of_the_head(degrees, row):
    turn = torch.deg2rad(torch.tensor([[0.0, degrees, 0]]))
    assert contour_row(axis_angle_to_matrix(turn)).tolist() == [row]


def test_a_face_turned_upside_down_is_not_turned_sideways():
    assert contour_row(torch.diag(torch.tensor([1.0, -1, -1]))[None]).tolist() == [0]


def test_the_contour_follows_the_turned_head(models):
    """FLAME's contour follows the root and not the neck; the body's follows the rotations from pelvis to neck."""
    turn = axis_angle_to_matrix(torch.tensor([[[0, -0.5, 0]]]))
    face, body = models[FLAME], models[SMPLX]
    a = face.dynamic_lmk_triangles
    assert not torch.equal(a[0], a[29])
    unposed = (face.v_template[a[29]] * face.dynamic_lmk_bary_coords[29][..., None]).sum(1)
    root = face.j_template[0]
    torch.testing.assert_close(face(turn)['joints'][0, -17:], (unposed - root) @ turn[0, 0].T + root, atol=1e-6, rtol=0)
    with_neck, without = face(identity(), neck_pose=turn), face(identity())
    chin = 5 + 51 + 8
    row_zero = (with_neck['vertices'][0][a[0]] * face.dynamic_lmk_bary_coords[0][..., None]).sum(1)
    torch.testing.assert_close(with_neck['joints'][0, -17:], row_zero, atol=1e-6, rtol=0)
    assert (with_neck['joints'] - without['joints'])[0, chin].norm() > 0.01
    pose = torch.zeros(1, 21, 3)
    pose[0, 2, 1], pose[0, 11, 1] = -0.2, -0.3  # spine_1 and neck
    out = body(identity(), body_pose=axis_angle_to_matrix(pose))
    expected = (out['vertices'][0][body.dynamic_lmk_triangles[29]] * body.dynamic_lmk_bary_coords[29][..., None]).sum(1)
    torch.testing.assert_close(out['joints'][0, -17:], expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize('kind', FILES)
def test_nothing_is_learned_and_nothing_is_saved(models, kind):
    model = models[kind]
    assert not list(model.parameters())
    assert not model.state_dict()
    model.load_state_dict({}, strict=True)


def test_autocast_changes_nothing(models):
    model = models[FLAME]
    pose, betas = random_pose(model), torch.randn(3, 100)
    expected = model(**pose, betas=betas)
    with torch.autocast('cpu', dtype=torch.bfloat16):
        out = model(**pose, betas=betas)
    for key in expected:
        assert out[key].dtype == torch.float32
        assert torch.equal(out[key], expected[key])


def test_inputs_of_half_precision_are_widened(models):
    out = models[MANO](identity(2).half(), betas=torch.ones(2, 10).half())
    torch.testing.assert_close(out['vertices'], models[MANO](identity(2), betas=torch.ones(2, 10))['vertices'])


def test_models_are_built_by_name(body_models):
    model = MODELS.build(dict(type='SMPLX', path=str(body_models / FILES[SMPLX]), num_betas=3, num_expression=4))
    assert model.shapedirs.shape == (10475, 3, 7)
    assert model.faces.shape == (20908, 3)


def test_fewer_shapes_are_the_first_ones(models, body_models):
    few = FLAME(body_models / FILES[FLAME], num_betas=3, num_expression=2)
    betas, psi = torch.randn(1, 3), torch.randn(1, 2)
    padded = models[FLAME](
        identity(), betas=torch.cat((betas, torch.zeros(1, 97)), 1), expression=torch.cat((psi, torch.zeros(1, 48)), 1)
    )
    torch.testing.assert_close(few(identity(), betas=betas, expression=psi)['vertices'], padded['vertices'])


def test_more_shapes_than_the_file_has_are_an_error(body_models):
    with pytest.raises(ValueError, match=r'num_betas=11, but .*MANO_RIGHT.* has 10'):
        MANO(body_models / FILES[MANO], num_betas=11)


@pytest.mark.parametrize(
    ('arguments', 'error', 'match'),
    [
        (dict(global_orient=torch.eye(3)[None]), ValueError, r'global_orient .*\(1, 3, 3\), .*\(1, 1, 3, 3\)'),
        (dict(global_orient=identity(), betas=torch.zeros(1, 9)), ValueError, r'betas .*\(1, 9\), .* \(1, 10\)'),
        (dict(global_orient=identity(), expression=torch.zeros(1, 50)), ValueError, r'expression has shape'),
        (dict(global_orient=identity(), jaw_pose=identity()), TypeError, "MANO has no pose 'jaw_pose'"),
    ],
)
def test_wrong_inputs_are_named(models, arguments, error, match):
    with pytest.raises(error, match=match):
        models[MANO](**arguments)


@pytest.mark.gpu
@pytest.mark.parametrize('kind', FILES)
def test_gpu_computes_the_same(models, kind, body_models):
    pose = random_pose(models[kind])
    on_gpu = kind(body_models / FILES[kind]).cuda()
    with torch.autocast('cuda'):
        out = on_gpu(**{name: value.cuda() for name, value in pose.items()})
    for key, expected in models[kind](**pose).items():
        torch.testing.assert_close(out[key].cpu(), expected, atol=1e-5, rtol=0)


def test_smplx_package_agrees(models, body_models, tmp_path):
    """Compare with the authors' package smplx, whose licence forbids copying, if it is installed."""
    smplx = pytest.importorskip('smplx', reason='the package smplx is not installed')
    mano = smplx.MANOLayer(str((body_models / FILES[MANO]).with_suffix('.npz')), is_rhand=True, ext='npz')
    pose, betas = random_pose(models[MANO]), torch.randn(3, 10)
    theirs = mano(betas=betas, global_orient=pose['global_orient'], hand_pose=pose['right_hand_pose'])
    ours = models[MANO](**pose, betas=betas)
    torch.testing.assert_close(ours['vertices'], theirs.vertices, atol=1e-6, rtol=0)

    with np.load(body_models / 'flame/FLAME_NEUTRAL.npz') as file:
        arrays = dict(file)
    write_flame(arrays, tmp_path / 'FLAME_NEUTRAL.pkl')
    np.savez(tmp_path / 'FLAME_NEUTRAL.npz', **arrays)
    flame = smplx.FLAMELayer(str(tmp_path), ext='npz', num_betas=100, num_expression_coeffs=50, use_face_contour=True)
    pose, shape = random_pose(models[FLAME]), dict(betas=torch.randn(3, 100), expression=torch.randn(3, 50))
    theirs, ours = flame(**pose, **shape), models[FLAME](**pose, **shape)
    torch.testing.assert_close(ours['vertices'], theirs.vertices, atol=1e-6, rtol=0)
    torch.testing.assert_close(ours['joints'], theirs.joints, atol=1e-6, rtol=0)

    body = smplx.SMPLXLayer(
        str(body_models / FILES[SMPLX]), ext='npz', num_betas=10, num_expression_coeffs=10, use_face_contour=True
    )
    pose, shape = random_pose(models[SMPLX]), dict(betas=torch.randn(3, 10), expression=torch.randn(3, 10))
    theirs, ours = body(**pose, **shape), models[SMPLX](**pose, **shape)
    torch.testing.assert_close(ours['vertices'], theirs.vertices, atol=2e-6, rtol=0)
    torch.testing.assert_close(ours['joints'], theirs.joints, atol=2e-6, rtol=0)
