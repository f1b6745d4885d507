"""ExPose's estimator: losses of samples with and without labels, predictions, and training."""

import re

import pytest
import torch
from mmengine.optim import OptimWrapper

from helpers.expose_models import ANGLE, L1, LOSSES, MSE, PARTS, PRIOR, SIZES, estimator, model_config, sample
from mogapose.expose.models.conventions import JOINT_GROUPS
from mogapose.expose.models.rotation import matrix_to_axis_angle
from mogapose.expose.registry import MODELS

FINGERS, FACE = JOINT_GROUPS['mano']['right_hand'], JOINT_GROUPS['flame']['face']
VERTICES = dict(hand=778, face=5023, body=10475)
FACES = dict(hand=1538, face=9976, body=20908)


def crops(count=3, side=32):
    return torch.rand(count, 3, side, side)


def predicted(model, inputs):
    return model.head(model.extract_feat(inputs))


def perfect(model, inputs, part):
    """Samples whose labels are the model's own predictions."""
    found = predicted(model, inputs)
    joints = model.body_model(**found['pred_param'])['joints']
    camera = found['pred_cam']
    projected = camera[:, None, :1] * (joints[..., :2] + camera[:, None, 1:])
    pixels = (projected + 1) * (inputs.shape[-1] - 1) / 2
    samples = []
    for i in range(len(inputs)):
        poses = {name: matrix_to_axis_angle(found['pred_param'][name][i]) for name in PARTS[part][-1]}
        rest = {name: found['pred_param'][name][i] for name in ('betas', 'expression') if name in found['pred_param']}
        points = dict(
            keypoints2d=torch.cat((pixels[i], torch.ones(len(pixels[i]), 1)), 1),
            keypoints3d=torch.cat((joints[i], torch.ones(len(joints[i]), 1)), 1),
        )
        labels = {name: value.detach() for name, value in {**poses, **rest, **points}.items()}
        samples.append(sample(part, **labels))
    return samples


@pytest.mark.parametrize('part', PARTS)
def test_labels_that_are_the_prediction_leave_the_floor_of_the_angles(part, body_models):
    model = estimator(part, body_models).eval()
    inputs = crops(2)
    losses = model(inputs, perfect(model, inputs, part), mode='loss')
    names = dict(
        hand='keypoints2d global_orient right_hand_pose betas_prior',
        face='keypoints2d global_orient jaw_pose expression betas_prior',
        body='keypoints2d keypoints3d global_orient body_pose left_hand_pose right_hand_pose jaw_pose expression '
        'betas betas_prior',
    )[part]
    assert set(losses) == {f'loss_{name}' for name in names.split()}
    for name, loss in losses.items():
        joints = PARTS[part][-1].get(name[5:], 0)
        assert loss.item() <= (2e-3 * joints if joints else 2e-3), name


def test_key_points_are_compared_in_crop_coordinates_and_summed(body_models):
    model, inputs = estimator('hand', body_models).eval(), crops(2, 64)
    samples = perfect(model, inputs, 'hand')
    for sample_, confidence in zip(samples, (1.0, 0.5), strict=True):
        sample_.keypoints2d[:, 0] += 63 * 0.1  # 0.2 of the crop's -1 to 1, in x alone
        sample_.keypoints2d[:, 2] = confidence
    loss = model(inputs, samples, mode='loss')['loss_keypoints2d']
    assert loss.item() == pytest.approx(21 * 0.2 * (1 + 0.5) / 2, rel=1e-3)


def test_key_points_in_3d_are_centred_between_the_hips(body_models):
    model, inputs = estimator('body', body_models).eval(), crops(1)
    (only,) = perfect(model, inputs, 'body')
    only.keypoints3d[:, :3] += torch.tensor([5.0, -3, 2])  # moves with the hips: no loss
    assert model(inputs, [only], mode='loss')['loss_keypoints3d'].item() < 2e-3
    only.keypoints3d[1, :3] += torch.tensor([0.2, 0, 0])  # a hip: the centre moves by half of it
    only.keypoints3d[0, 3] = 0.0
    loss = model(inputs, [only], mode='loss')['loss_keypoints3d'].item()
    assert loss == pytest.approx(0.1 + 142 * 0.1, rel=1e-3)


@pytest.mark.parametrize(
    ('part', 'label', 'points'), [('hand', 'right_hand_pose', FINGERS), ('face', 'jaw_pose', FACE)]
)
def test_pose_counts_as_much_as_its_part_is_seen(part, label, points, body_models):
    model, inputs = estimator(part, body_models).eval(), crops(2)
    samples = perfect(model, inputs, part)
    left_out = set(range(PARTS[part][2])) - set(points)
    assert len(left_out) == 1  # the wrist, the neck
    confidence = torch.rand(2, PARTS[part][2])
    confidence[:, list(left_out)] = 9.0
    for i, one in enumerate(samples):
        one.set_field(torch.zeros_like(one.get(label)), label)
        one.keypoints2d[:, 2] = confidence[i]
    pose = predicted(model, inputs)['pred_param'][label]
    angles = matrix_to_axis_angle(pose).norm(dim=-1)
    weights = confidence[:, list(points)].mean(1, keepdim=True).expand_as(angles)
    expected = (weights * angles).sum() / angles.numel()
    assert model(inputs, samples, mode='loss')[f'loss_{label}'].item() == pytest.approx(expected.item(), rel=1e-3)


def test_expression_is_a_weighted_sum_of_squares_per_labelled_sample(body_models):
    model, inputs = estimator('face', body_models).eval(), crops(3)
    samples = perfect(model, inputs, 'face')
    for one, confidence, shift in zip(samples, (1.0, 0.5, 1.0), (0.1, 0.2, 5.0), strict=True):
        one.expression = one.expression + shift
        one.keypoints2d[:, 2] = confidence
    samples[2].has_expression = torch.zeros(1)  # a mirrored face
    loss = model(inputs, samples, mode='loss')['loss_expression']
    assert loss.item() == pytest.approx(50 * (0.01 + 0.5 * 0.04) / 2, rel=1e-4)


def test_angles_of_several_joints_are_summed_and_betas_weigh_little(body_models):
    model, inputs = estimator('body', body_models).eval(), crops(2)
    samples = perfect(model, inputs, 'body')
    for one in samples:
        one.body_pose = torch.zeros(21, 3)
        one.betas = one.betas + 2.0
    losses = model(inputs, samples, mode='loss')
    angles = matrix_to_axis_angle(predicted(model, inputs)['pred_param']['body_pose']).norm(dim=-1)
    assert losses['loss_body_pose'].item() == pytest.approx(angles.sum().item() / 2, rel=1e-3)
    assert losses['loss_betas'].item() == pytest.approx(0.001 * 10 * 4, rel=1e-4)


def test_prior_is_of_all_betas_whatever_the_labels(body_models):
    model = estimator('hand', body_models).eval()
    torch.nn.init.zeros_(model.head.regressor.module.output_layer.weight)
    torch.nn.init.zeros_(model.head.regressor.module.output_layer.bias)
    model.head.regressor.mean_param[0, 96:99] = torch.tensor([4.0, -5, 1])
    samples = [sample('hand', has_betas=torch.zeros(1)) for _ in range(2)]
    assert model(crops(2), samples, mode='loss')['loss_betas_prior'].item() == pytest.approx(20.5)


@pytest.mark.parametrize('part', ['hand', 'face'])
def test_samples_without_a_label_do_not_count(part, body_models):
    model, inputs = estimator(part, body_models).eval(), crops(3)
    samples = [sample(part) for _ in range(3)]
    expected = model(inputs[:2], samples[:2], mode='loss')
    for name in [field for field in samples[2].keys() if field.startswith('has_')]:  # noqa: SIM118  no dict
        samples[2].set_field(torch.zeros(1), name)
    samples[2].keypoints2d[:] = 1e4
    losses = model(inputs, samples, mode='loss')
    for name in set(losses) - {'loss_betas_prior'}:
        assert losses[name].item() == pytest.approx(expected[name].item(), rel=1e-4), name


@pytest.mark.parametrize('part', PARTS)
def test_batch_without_any_label_is_zero_and_backpropagates_to_every_parameter(part, body_models):
    model = estimator(part, body_models)
    samples = [sample(part) for _ in range(2)]
    for one in samples:
        for name in [field for field in one.keys() if field.startswith('has_')]:  # noqa: SIM118
            one.set_field(torch.zeros(1), name)
    losses = model(crops(2), samples, mode='loss')
    assert {name: loss.item() for name, loss in losses.items()} == dict.fromkeys(losses, 0)
    sum(losses.values()).backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None or gradient.count_nonzero()] == []


def test_loss_that_is_not_asked_for_is_not_computed(body_models):
    config = model_config('hand', body_models, loss_keypoints2d=None)
    config['body_model']['path'] = 'nowhere/MANO_RIGHT.pkl'  # these calls do not need it
    losses = MODELS.build(config).eval()(crops(1), [sample('hand')], mode='loss')
    assert set(losses) == {'loss_global_orient', 'loss_right_hand_pose', 'loss_betas_prior'}


@pytest.mark.parametrize('part', PARTS)
def test_predictions_are_vertices_joints_camera_and_parameters(part, body_models):
    model, inputs = estimator(part, body_models).eval(), crops(2)
    given = [sample(part), sample(part)]
    out = model(inputs, given, mode='predict')
    found = predicted(model, inputs)
    body = model.body_model(**found['pred_param'])
    assert out[0] is given[0]
    assert 'keypoints2d' in out[0]
    assert out[0].metainfo['img_path'] == 'a.jpg'
    for i, one in enumerate(out):
        assert one.pred_vertices.shape == (VERTICES[part], 3)
        assert one.pred_joints.shape == (PARTS[part][2], 3)
        assert torch.equal(one.pred_vertices, body['vertices'][i])
        assert torch.equal(one.pred_cam, found['pred_cam'][i])
        assert one.pred_faces.shape == (FACES[part], 3)
        for name, value in found['pred_param'].items():
            assert torch.equal(one.get(f'pred_{name}'), value[i]), name
    alone = model(inputs, mode='predict')
    assert torch.equal(alone[1].pred_joints, out[1].pred_joints)


def test_tensor_mode_needs_no_body_model(body_models):
    config = model_config('face', body_models)
    config['body_model']['path'] = 'nowhere/FLAME_NEUTRAL.pkl'
    model = MODELS.build(config).eval()
    out = model(crops(2))
    assert out['pred_param']['expression'].shape == (2, 50)
    with pytest.raises(FileNotFoundError, match=r'nowhere/FLAME_NEUTRAL\.pkl'):
        model(crops(2), mode='predict')


def test_hand_starts_from_the_body_model_s_mean_hand_once_initialised(body_models):
    model = estimator('hand', body_models)
    assert model.head.regressor.mean_param[0, 6:12].tolist() == [1, 0, 0, 1, 0, 0]
    model.init_weights()
    mean = model.head.regressor.mean_param[0, 6:96].reshape(15, 3, 2)
    angles = model.body_model.hands_mean
    for joint in range(15):
        cross = torch.zeros(3, 3, dtype=torch.float64)
        x, y, z = angles[joint]
        cross[0, 1], cross[0, 2], cross[1, 0], cross[1, 2], cross[2, 0], cross[2, 1] = -z, y, z, -x, -y, x
        assert torch.allclose(mean[joint], torch.matrix_exp(cross)[:, :2].float(), atol=1e-5)
    assert angles.abs().max() > 0.05


def test_body_starts_from_its_mean_hands(body_models):
    model = estimator('body', body_models)
    model.init_weights()
    param = model.head.regressor.mean_param[0]
    poses = model.head.decode(param[None])['pred_param']
    assert torch.allclose(matrix_to_axis_angle(poses['left_hand_pose'][0]), model.body_model.left_hand_mean, atol=1e-4)
    assert torch.allclose(
        matrix_to_axis_angle(poses['right_hand_pose'][0]), model.body_model.right_hand_mean, atol=1e-4
    )
    assert param[6:132].tolist() == [1, 0, 0, 1, 0, 0] * 21


@pytest.mark.parametrize('part', PARTS)
def test_state_has_no_body_model_before_or_after_its_use(part, body_models):
    model = estimator(part, body_models)
    before = set(model.state_dict())
    parameters = sum(p.numel() for p in model.parameters())
    model(crops(2), mode='predict')
    assert set(model.state_dict()) == before
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert {name.split('.')[0] for name in before} == {'backbone', 'head'}
    assert model.head.regressor.mean_param.shape == (1, SIZES[part])


def overfit(part, body_models, steps=25):
    """Losses of the first and the last training step on one batch, as in a Runner's loop."""
    model = estimator(part, body_models)
    model.init_weights()
    model.train()
    wrapper = OptimWrapper(torch.optim.Adam(model.parameters(), lr=3e-3))
    labels = [sample(part) for _ in range(2)]
    data = dict(inputs=[torch.randint(256, (3, 32, 32), dtype=torch.uint8) for _ in labels], data_samples=labels)
    return [model.train_step(data, wrapper)['loss'].item() for _ in range(steps)]


@pytest.mark.parametrize('part', ['hand', 'face'])
def test_training_lowers_the_loss(part, body_models):
    losses = overfit(part, body_models)
    assert losses[-1] < 0.85 * losses[0]


def test_preprocessor_turns_bgr_into_rgb(body_models):
    model = estimator('hand', body_models)
    crop = torch.zeros(3, 8, 8, dtype=torch.uint8)
    crop[2] = 255  # red
    out = model.data_preprocessor(dict(inputs=[crop], data_samples=[sample('hand')]))
    assert out['inputs'][0, 0].min() == 1
    assert out['inputs'][0, 1:].max() == 0


def test_double_precision_and_autocast_work(body_models):
    model = estimator('hand', body_models).eval()
    inputs, samples = crops(2), [sample('hand'), sample('hand')]
    plain = model(inputs, samples, mode='loss')
    with torch.autocast('cpu', torch.bfloat16):
        half = model(inputs, samples, mode='loss')
    assert {loss.dtype for loss in half.values()} == {torch.float32}
    double = estimator('hand', body_models).double().eval()
    double.load_state_dict(
        {name: value.double() if value.is_floating_point() else value for name, value in model.state_dict().items()}
    )
    exact = double(inputs.double(), samples, mode='loss')
    assert exact['loss_keypoints2d'].dtype == torch.float64
    for name, loss in plain.items():
        assert loss.item() == pytest.approx(exact[name].item(), rel=1e-3, abs=1e-6)
        assert half[name].item() == pytest.approx(exact[name].item(), rel=0.1, abs=1e-2)


@pytest.mark.parametrize('part', PARTS)
def test_losses_of_a_prediction_are_those_of_float32_under_autocast(part, body_models):
    model = estimator(part, body_models).eval()
    torch.nn.init.zeros_(model.head.regressor.module.output_layer.weight)  # the mean is exact in any precision
    torch.nn.init.zeros_(model.head.regressor.module.output_layer.bias)
    inputs, samples = crops(2), [sample(part), sample(part)]
    plain = model(inputs, samples, mode='loss')
    with torch.autocast('cpu', torch.bfloat16):
        half = model(inputs, samples, mode='loss')
    for name, loss in plain.items():
        assert half[name].dtype == torch.float32
        assert half[name].item() == pytest.approx(loss.item(), rel=1e-6), name


def test_neck_stands_between_backbone_and_head(body_models):
    model = estimator('hand', body_models, neck=dict(type='Neck')).eval()
    inputs = crops(1)
    plain = model.backbone(inputs)[-1].mean((2, 3))
    assert torch.allclose(model(inputs)['pred_cam'], model.head(2 * plain)['pred_cam'], atol=1e-6)


@MODELS.register_module(name='Neck')
class Twice(torch.nn.Module):
    def forward(self, maps):
        return [2 * x for x in maps]


@pytest.mark.parametrize(
    ('changes', 'error', 'message'),
    [
        (dict(body_model=None), ValueError, 'body_model is missing'),
        (dict(body_model=dict(type='SMPL', path='x')), ValueError, "type='SMPL': expected MANO, FLAME, SMPLX"),
        (dict(loss_jaw=ANGLE), TypeError, "unexpected argument 'loss_jaw': the losses are loss_keypoints2d"),
        (dict(loss_smplx_jaw_pose=ANGLE), ValueError, 'loss_smplx_jaw_pose: ExPoseHandHead on mano predicts nothing'),
        (dict(loss_smplx_expression=MSE), ValueError, 'loss_smplx_expression: ExPoseHandHead'),
        (dict(loss_keypoints3d=L1), ValueError, 'loss_keypoints3d: ExPoseHandHead'),
        (dict(loss_keypoints2d=dict(type='L1Loss', reduction='mean')), ValueError, "reduction='mean': expected 'sum'"),
    ],
)
def test_config_that_does_not_fit_is_refused(changes, error, message, body_models):
    with pytest.raises(error, match=message):
        estimator('hand', body_models, **changes)


def without(field):
    one = sample('hand')
    one.pop(field)
    return one


@pytest.mark.parametrize(
    ('samples', 'message'),
    [
        (None, 'the loss needs data_samples'),
        ([without('global_orient')] * 2, "no 'global_orient', which the loss of global_orient needs"),
        ([without('has_keypoints2d')] * 2, "no 'has_keypoints2d', which the loss of keypoints2d needs"),
        (
            [sample('hand'), sample('hand', keypoints2d=torch.ones(20, 3))],
            'keypoints2d differs in shape.*(20, 3).*(21, 3)',
        ),
        ([sample('hand', keypoints2d=torch.ones(20, 3))] * 2, r'keypoints2d: a label has shape \(20, 2\), .*\(21, 2\)'),
        ([sample('hand', right_hand_pose=torch.ones(14, 3))] * 2, r'\(2, 15, 3, 3\) and target \(2, 14, 3, 3\)'),
    ],
)
def test_labels_that_do_not_fit_are_refused(samples, message, body_models):
    with pytest.raises(ValueError, match=message):
        estimator('hand', body_models)(crops(2), samples, mode='loss')


def test_crops_that_are_not_square_and_unknown_modes_are_refused(body_models):
    model = estimator('hand', body_models)
    with pytest.raises(ValueError, match='inputs are 32x64: expected square crops'):
        model(torch.rand(1, 3, 32, 64), [sample('hand')], mode='loss')
    with pytest.raises(ValueError, match=re.escape("mode='train': expected tensor, loss or predict")):
        model(crops(1), mode='train')


@pytest.mark.parametrize(
    ('part', 'layer', 'folder'),
    [
        ('hand', 'MANOLayer', 'mano'),
        ('face', 'FLAMELayer', 'flame'),
        ('body', 'SMPLXLayer', 'smplx'),
    ],
)
def test_config_of_mmhuman3d_builds_the_same_network(part, layer, folder, body_models):
    """MMHuman3D's names: input_feat_dim, body_model_train and _test with folders, options that are fixed here."""
    config = model_config(part, body_models)
    head = config['head'] | dict(input_feat_dim=config['head']['in_channels'])
    del head['in_channels'], config['body_model']
    _, _, _, betas, expression, _ = PARTS[part]
    body_model = dict(
        type=layer,
        num_betas=betas,
        num_expression_coeffs=expression or 10,
        use_pca=False,
        flat_hand_mean=True,
        model_path=str(body_models / folder),
        keypoint_src=folder,
        keypoint_dst=folder,
    )
    test = body_model | dict(keypoint_dst='other')
    ported = MODELS.build(config | dict(head=head, body_model_train=body_model, body_model_test=test)).eval()
    own = estimator(part, body_models).eval()
    own.load_state_dict(ported.state_dict())
    inputs = crops(1)
    (first,), (second,) = (model(inputs, mode='predict') for model in (own, ported))
    assert torch.equal(first.pred_vertices, second.pred_vertices)


def test_part_losses_of_the_helpers_are_those_of_the_recipes():
    from helpers.tool_runs import ROOT
    from moganet.run.config import load_config

    for part in ('hand', 'face'):
        model = load_config(ROOT / f'configs/expose/{part}_moganet_t.py').model
        assert {name for name in model if name.startswith('loss_') and model[name]} == {*LOSSES[part], *PRIOR}
