"""MMHuman3D's checkpoints of ExPose's hand and face load whole and safely; ours hold no body model."""

from types import SimpleNamespace

import pytest
import torch
from mmengine.registry import DefaultScope

from helpers.checkpoint_files import command
from helpers.expose_models import estimator, head_shapes, mmhuman3d_state, resnet18_shapes, sample
from helpers.tool_runs import ROOT
from moganet.checkpoint import load_model
from moganet.checkpoint.runner import StrictLoad
from moganet.run.config import load_config
from mogapose.expose.registry import MODELS

TENSORS = 1 + 5 + 8 * (2 + 2 * 5) + 3 * 6 + 7  # stem, blocks, shortcuts; mean and three layers of the head
INDICES = dict(hand=4, face=5)


def baseline(part):
    """The network of the recipe with ResNet-18."""
    with DefaultScope.overwrite_default_scope('mogapose'):
        return MODELS.build(load_config(ROOT / f'configs/expose/{part}_resnet18.py').model)


def write(path, state, **more):
    """A checkpoint as mmcv 1 writes it for MMHuman3D."""
    meta = dict(
        mmhuman3d_version='0.11.0',
        env_info='sys.platform: linux',
        mmcv_version='1.6.1',
        epoch=100,
        iter=40700,
        config="model = dict(type='SMPLXImageBodyModelEstimator')",
        time='Fri Jul  8 2022',
    )
    optimizers = {name: dict(state={}, param_groups=[dict(lr=1e-5, params=[0])]) for name in ('backbone', 'head')}
    torch.save(dict(meta=meta, state_dict=state, optimizer=optimizers) | more, path)
    return path


@pytest.mark.parametrize('part', ['hand', 'face'])
def test_released_checkpoint_loads_whole(part, tmp_path):
    state = mmhuman3d_state(part)
    model = baseline(part)
    line = load_model(model, write(tmp_path / 'released.pth', state))
    assert line == (
        f'loaded {TENSORS} of {TENSORS} tensors from {tmp_path}/released.pth (left out 4 second names of layers, '
        f'{INDICES[part]} index tables, 9 tensors of body_model_train, 9 tensors of body_model_test)'
    )
    own = model.state_dict()
    names = {f'backbone.{name}' for name in resnet18_shapes()} | {f'head.{name}' for name in head_shapes(part, 512)}
    assert set(own) == names
    assert len(names) == TENSORS
    assert all(torch.equal(own[name], state[name]) for name in names)


def test_released_checkpoint_loads_in_a_runner():
    state = mmhuman3d_state('hand')
    model = baseline('hand')
    checkpoint = dict(state_dict=dict(state), meta=dict(config='import os'))
    StrictLoad().after_load_checkpoint(SimpleNamespace(model=model, _load_from='released.pth'), checkpoint)
    assert set(checkpoint['state_dict']) == set(model.state_dict())


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (lambda s: s.pop('head.regressor.mean_param'), '1 missing: head.regressor.mean_param'),
        (lambda s: s.pop('backbone.layer4.1.bn2.bias'), '1 missing: backbone.layer4.1.bn2.bias'),
        (
            lambda s: s.update({'hand_head.regressor.mean_param': torch.rand(1, 109)}),
            '1 left over: hand_head.regressor',
        ),
        (
            lambda s: s.update({'head.regressor.module.layer_001.0.bias': torch.rand(1024)}),
            'layer_001.0.bias is not the same as head.regressor.module.blocks.1.0.bias',
        ),
        (
            lambda s: s.update({'head.regressor.module.layer_002.0.bias': torch.rand(1024)}),
            'layer_002.0.bias is not the',
        ),
        (
            lambda s: s.update({'head.shape_idxs': torch.arange(6, 16)}),
            "head.shape_idxs: .* another layout; the model's has that part at 96 to 105",
        ),
        (
            lambda s: s.update({'head.expression_idxs': torch.arange(106, 116)}),
            'head.expression_idxs: .* has no such part',
        ),
    ],
)
def test_checkpoint_that_does_not_fit_is_refused(change, message, tmp_path):
    state = mmhuman3d_state('hand')
    change(state)
    with pytest.raises(ValueError, match=message):
        load_model(baseline('hand'), write(tmp_path / 'other.pth', state))


def test_checkpoint_of_another_part_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r'head\.jaw_pose_idxs: .* has no such part'):
        load_model(baseline('hand'), write(tmp_path / 'face.pth', mmhuman3d_state('face')))


def test_checkpoint_that_runs_code_is_refused(tmp_path):
    path = write(tmp_path / 'evil.pth', mmhuman3d_state('hand'), hook=command(tmp_path / 'ran'))
    with pytest.raises(ValueError, match=r'evil\.pth.*holds more than data'):
        load_model(baseline('hand'), path)
    assert not (tmp_path / 'ran').exists()


@pytest.mark.parametrize('part', ['hand', 'face', 'body'])
def test_own_checkpoint_predicts_the_same_and_holds_no_body_model(part, body_models, tmp_path):
    trained, model = (estimator(part, body_models).eval() for _ in range(2))
    inputs = torch.rand(1, 3, 32, 32)
    (expected,) = trained(inputs, [sample(part)], mode='predict')
    torch.save(dict(state_dict=trained.state_dict(), meta=dict(epoch=3)), tmp_path / 'epoch_3.pth')
    line = load_model(model, tmp_path / 'epoch_3.pth')
    assert line.startswith(f'loaded {len(model.state_dict())} of')
    assert 'left out' not in line
    (found,) = model(inputs, mode='predict')
    assert torch.equal(found.pred_vertices, expected.pred_vertices)
    kept = torch.load(tmp_path / 'epoch_3.pth', weights_only=True)['state_dict']
    assert {name.split('.')[0] for name in kept} == {'backbone', 'head'}
    assert (tmp_path / 'epoch_3.pth').stat().st_size < 1e6
