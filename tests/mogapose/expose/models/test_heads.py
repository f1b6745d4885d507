"""ExPose's heads: parts of the parameter vector, start values, steps and decoding."""

import math

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from helpers.cases import for_each
from helpers.checkpoint_files import command
from helpers.expose_models import head_shapes
from helpers.official_body_models import dumps
from mogapose.expose.registry import MODELS

HEADS = dict(hand='ExPoseHandHead', face='ExPoseFaceHead', body='ExPoseBodyHead')
IDENTITY, TURNED = [1.0, 0, 0, 1, 0, 0], [1.0, 0, 0, -1, 0, 0]


def head(part, in_channels=8, **options):
    options.setdefault('regressor_cfg', dict(layers=(16, 16)))
    return MODELS.build(dict(type=HEADS[part], in_channels=in_channels, **options)).eval()


@for_each(
    [
        ('hand', 256, 1_536_109),
        ('hand', 512, 1_798_253),
        ('hand', 2048, 3_371_117),
        ('face', 256, 1_650_853),
        ('face', 512, 1_912_997),
        ('face', 2048, 3_485_861),
        ('body', 256, 2_011_477),
        ('body', 512, 2_273_621),
    ]
)
def test_head_has_the_parameters_of_the_paper_s_tables(part, channels, parameters):
    with torch.device('meta'):
        found = MODELS.build(dict(type=HEADS[part], in_channels=channels))
    assert sum(p.numel() for p in found.parameters()) == parameters


@pytest.mark.parametrize('part', HEADS)
def test_state_has_mmhuman3d_s_names_and_nothing_else(part):
    with torch.device('meta'):
        found = MODELS.build(dict(type=HEADS[part], in_channels=512))
    assert {name: tuple(value.shape) for name, value in found.state_dict().items()} == head_shapes(part, 512)


def test_vector_holds_its_parts_in_order():
    ends = {part: {name: (s.start, s.stop) for name, s in head(part).slices.items()} for part in HEADS}
    assert ends['hand'] == dict(global_orient=(0, 6), right_hand_pose=(6, 96), betas=(96, 106), camera=(106, 109))
    assert ends['face'] == dict(
        global_orient=(0, 6), jaw_pose=(6, 12), betas=(12, 112), expression=(112, 162), camera=(162, 165)
    )
    assert ends['body'] == dict(
        global_orient=(0, 6),
        body_pose=(6, 132),
        left_hand_pose=(132, 222),
        right_hand_pose=(222, 312),
        jaw_pose=(312, 318),
        betas=(318, 328),
        expression=(328, 338),
        camera=(338, 341),
    )


def test_mean_is_the_identity_the_face_and_body_turned_about_x_and_the_camera_s_scale():
    hand, face, body = (head(part).regressor.mean_param[0].tolist() for part in HEADS)
    assert hand[:96] == IDENTITY * 16
    assert hand[96:106] == [0] * 10
    assert face[:12] == TURNED + IDENTITY
    assert face[12:162] == [0] * 150
    assert body[:318] == TURNED + IDENTITY * 52
    assert hand[106:] == body[338:] == pytest.approx([0.3782, 0, 0], abs=1e-4)  # ln(e^0.9 - 1)
    assert face[162:] == pytest.approx([7.9997, 0, 0], abs=1e-4)  # ln(e^8 - 1)


@pytest.mark.parametrize('part', HEADS)
def test_head_that_predicts_no_change_gives_the_mean_decoded(part):
    found = head(part)
    torch.nn.init.zeros_(found.regressor.module.output_layer.weight)
    torch.nn.init.zeros_(found.regressor.module.output_layer.bias)
    out = found([torch.rand(2, 8, 3, 3)])
    turned = torch.eye(3) if part == 'hand' else torch.diag(torch.tensor([1.0, -1, -1]))
    for name, pose in out['pred_param'].items():
        if name.endswith(('orient', 'pose')):
            expected = turned if name == 'global_orient' else torch.eye(3)
            assert torch.allclose(pose, expected.expand_as(pose), atol=1e-6), name
    scale = 8.0 if part == 'face' else 0.9
    assert torch.allclose(out['pred_cam'], torch.tensor([scale, 0, 0]).expand(2, 3), atol=1e-5)
    assert out['pred_raw']['raw_global_orient'][0].tolist() == (IDENTITY if part == 'hand' else TURNED)


def test_vector_is_decoded_with_interleaved_columns():
    found = head('hand')
    raw = found.regressor.mean_param.clone()
    raw[0, :6] = torch.tensor([0.0, -2, 3, 1, 0, 0])  # columns (0, 3, 0) and (-2, 1, 0): a quarter turn about z
    raw[0, 96:106] = torch.arange(10.0)
    raw[0, 106:] = torch.tensor([0.0, 5, -6])
    out = found.decode(raw)
    quarter = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert torch.allclose(out['pred_param']['global_orient'][0, 0], quarter, atol=1e-6)
    assert out['pred_param']['right_hand_pose'].shape == (1, 15, 3, 3)
    assert out['pred_param']['betas'][0].tolist() == list(range(10))
    assert out['pred_cam'][0].tolist() == pytest.approx([math.log(2), 5, -6])
    assert 'expression' not in out['pred_param']


def by_hand(found, feature, start, steps=3, activation=True):
    """The regression as an explicit formula with the parameters of ``found``."""
    state = dict(found.regressor.module.named_parameters())
    p = start
    for _ in range(steps):
        x = torch.cat((feature, p), -1)
        for i in range(2):
            x = state[f'blocks.{i}.0.weight'] @ x + state[f'blocks.{i}.0.bias']
            x = x.clamp(min=0) if activation else x
        p = p + state['output_layer.weight'] @ x + state['output_layer.bias']
    return p


@pytest.mark.parametrize(('part', 'activation'), [('hand', True), ('face', True), ('body', False)])
def test_regression_takes_three_steps_from_the_mean_with_one_network(part, activation):
    found = head(part)
    maps = torch.rand(2, 8, 5, 4)
    raw = found.regress((torch.rand(2, 4, 10, 8), maps))
    mean = found.regressor.mean_param[0]
    for i in range(2):
        expected = by_hand(found, maps[i].mean((1, 2)), mean, activation=activation)
        assert torch.allclose(raw[i], expected, atol=1e-5)
        assert not torch.allclose(raw[i], by_hand(found, maps[i].mean((1, 2)), mean, 2, activation), atol=1e-3)
    assert torch.allclose(found.regress(maps.mean((2, 3))), raw, atol=1e-6)


def test_regression_starts_from_a_condition_where_there_is_one():
    found, feature, cond = head('hand'), torch.rand(1, 8), torch.rand(1, 109)
    assert torch.allclose(found.regress(feature, cond)[0], by_hand(found, feature[0], cond[0]), atol=1e-5)


def test_gradient_goes_through_all_steps():
    found, feature = head('hand').double(), torch.rand(1, 8, dtype=torch.float64)
    cond = torch.rand(1, 109, dtype=torch.float64, requires_grad=True)
    found.regress(feature, cond)[0, 0].backward()
    expected = torch.autograd.functional.jacobian(lambda c: by_hand(found, feature[0], c)[0], cond.detach()[0])
    assert torch.allclose(cond.grad[0], expected)
    assert cond.grad.count_nonzero() > 1


def test_dropout_is_of_a_half_and_in_training_only():
    found = head('hand').train()
    assert [m.p for m in found.modules() if isinstance(m, torch.nn.Dropout)] == [0.5, 0.5]
    feature = torch.rand(1, 8)
    assert not torch.equal(found.regress(feature), found.regress(feature))
    assert torch.equal(found.eval().regress(feature), found.regress(feature))


def test_last_layer_starts_as_pytorch_makes_it_or_as_xavier_s_with_a_gain():
    plain = head('hand', regressor_cfg=dict(layers=(1024,))).regressor.module.output_layer
    assert 0.9 / 32 < plain.weight.abs().max() <= 1 / 32
    assert plain.bias.abs().max() > 0.01
    xavier = head('hand', regressor_cfg=dict(layers=(1024,), init='xavier', gain=0.01)).regressor.module.output_layer
    bound = 0.01 * math.sqrt(6 / (1024 + 109))
    assert 0.9 * bound < xavier.weight.abs().max() <= bound
    assert xavier.bias.abs().max() == 0
    wide = head('hand', regressor_cfg=dict(layers=(1024,), init='xavier', gain=0.1)).regressor.module.output_layer
    assert wide.weight.abs().max() > 5 * bound


@pytest.mark.parametrize(
    ('pos_func', 'raw', 'scale'),
    [
        ('exp', math.log(0.9), math.exp(2.0)),
        ('none', 0.9, 2.0),
        ('softplus', 0.3782, math.log1p(math.exp(2.0))),
    ],
)
def test_camera_s_scale_is_what_its_function_says(pos_func, raw, scale):
    found = head('hand', camera_cfg=dict(pos_func=pos_func))
    assert found.regressor.mean_param[0, 106].item() == pytest.approx(raw, abs=1e-4)
    vector = found.regressor.mean_param.clone()
    vector[0, 106] = 2.0
    assert found.decode(vector)['pred_cam'][0, 0].item() == pytest.approx(scale)


def test_options_change_the_vector_and_the_camera():
    found = head('face', num_betas=20, num_expression_coeffs=7, camera_cfg=dict(mean_scale=2.0))
    assert found.regressor.mean_param.shape == (1, 12 + 20 + 7 + 3)
    assert F.softplus(found.regressor.mean_param[0, -3]).item() == pytest.approx(2.0)
    linear = head('hand', regressor_cfg=dict(layers=(16, 16, 16), activ_type='none', dropout=0.1))
    kinds = [type(m).__name__ for m in linear.regressor.module.blocks[2]]
    assert kinds == ['Linear', 'Dropout']
    assert len(linear.regressor.module.blocks) == 3


@for_each(
    [
        ('hand', dict(num_expression_coeffs=10), 'ExPoseHandHead has no expression'),
        ('face', dict(num_betas=0), 'num_betas=0.*expected 1 or more'),
        ('hand', dict(camera_cfg=dict(pos_func='relu')), "pos_func='relu': expected one of softplus, exp, none"),
        ('hand', dict(camera_cfg=dict(mean_scale=-1)), 'mean_scale=-1: expected a number above zero'),
        ('hand', dict(regressor_cfg=dict(activ_type='GELU')), "activ_type='GELU': expected 'ReLU' or 'none'"),
        ('hand', dict(regressor_cfg=dict(init='zeros')), "init='zeros': expected one of default, xavier"),
        ('hand', dict(mean_pose_path='no/all_means.pkl'), 'no/all_means.pkl does not exist'),
        ('body', dict(shape_mean_path='no/shape_mean.npy'), 'no/shape_mean.npy does not exist'),
    ]
)
def test_option_outside_its_range_is_refused(part, options, message):
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        head(part, **options)


def test_a_single_map_is_refused():
    with pytest.raises(ValueError, match=r'\(2, 8, 7, 7\): expected a sequence of maps'):
        head('hand')(torch.rand(2, 8, 7, 7))


def test_decoding_is_float32_under_autocast():
    found = head('face')
    with torch.autocast('cpu', torch.bfloat16):
        out = found([torch.rand(2, 8, 3, 3)])
    assert {value.dtype for part in ('pred_param', 'pred_raw') for value in out[part].values()} == {torch.float32}
    assert out['pred_cam'].dtype == torch.float32
    product = out['pred_param']['jaw_pose'] @ out['pred_param']['jaw_pose'].mT
    assert torch.allclose(product, torch.eye(3).expand_as(product), atol=1e-5)


def write_means(path, joints=15, key='cont_rot_repr'):
    """Write an all_means.pkl whose numbers identify their place."""
    poses = dict(body_pose=21, left_hand_pose=15, right_hand_pose=joints)
    means = {
        name: {key: np.arange(count * 6, dtype=np.float32).reshape(count, 6) + i, 'aa': np.zeros((count, 3))}
        for i, (name, count) in enumerate(poses.items())
    }
    path.write_bytes(dumps(means))
    return str(path)


def test_mean_poses_and_shape_are_read_from_files(tmp_path):
    np.save(tmp_path / 'shape_mean.npy', np.arange(20, dtype=np.float32))
    path = write_means(tmp_path / 'all_means.pkl')
    body = head('body', mean_pose_path=path, shape_mean_path=str(tmp_path / 'shape_mean.npy')).regressor.mean_param[0]
    assert body[:6].tolist() == TURNED
    assert body[312:318].tolist() == IDENTITY
    assert body[6:132].tolist() == list(range(126))
    assert body[132:222].tolist() == list(range(1, 91))
    assert body[222:312].tolist() == list(range(2, 92))
    assert body[318:328].tolist() == list(range(10))
    hand = head('hand', mean_pose_path=path).regressor.mean_param[0]
    assert hand[:6].tolist() == IDENTITY
    assert hand[6:96].tolist() == list(range(2, 92))


def test_mean_file_that_does_not_fit_is_refused(tmp_path):
    path = write_means(tmp_path / 'short.pkl', joints=14)
    with pytest.raises(ValueError, match=r"short.pkl: \['right_hand_pose'\]\['cont_rot_repr'\] .*\(14, 6\).*\(15, 6\)"):
        head('hand', mean_pose_path=path)
    path = write_means(tmp_path / 'old.pkl', key='rot_mats')
    with pytest.raises(ValueError, match=r"old.pkl: has no \['right_hand_pose'\]\['cont_rot_repr'\]"):
        head('hand', mean_pose_path=path)
    np.save(tmp_path / 'shape.npy', np.zeros(4))
    with pytest.raises(ValueError, match=r'shape.npy is float64 of shape \(4,\): expected .*\(10,\)'):
        head('hand', shape_mean_path=str(tmp_path / 'shape.npy'))


def test_mean_file_that_runs_code_is_refused(tmp_path):
    import pickle

    (tmp_path / 'evil.pkl').write_bytes(pickle.dumps(dict(right_hand_pose=command(tmp_path / 'ran'))))
    with pytest.raises(ValueError, match=r'evil\.pkl: not read'):
        head('hand', mean_pose_path=str(tmp_path / 'evil.pkl'))
    assert not (tmp_path / 'ran').exists()
