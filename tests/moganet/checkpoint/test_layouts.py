"""Names of tensors: detection and conversion of layouts, and the choice between weights in one file."""

from collections import OrderedDict

import pytest
import torch

from helpers import checkpoint_files
from helpers.cases import for_each
from helpers.checkpoint_files import TENSORS
from moganet.checkpoint import detect_layout, tensors_of, to_backbone, to_mmpretrain, to_official

# All tensors of the released classifiers, batch norms' buffers and the head's two included.
RELEASED = {'xtiny': 705, 'tiny': 777, 'small': 741, 'base': 1317, 'large': 2145, 'xlarge': 2217}
DETECTOR = ('neck.weight', 'bbox_head.weight')


def detector(state):
    return {name: value for name, value in state.items() if name.startswith('backbone.')} | dict.fromkeys(
        DETECTOR, torch.rand(1)
    )


def with_prefix(prefix, state):
    return {prefix + name: value for name, value in state.items()}


@for_each(RELEASED)
def test_backbone_and_head_have_the_released_number_of_tensors(arch):
    with torch.device('meta'):
        names = checkpoint_files.backbone(arch=arch).state_dict()
    assert len(names) + 2 == RELEASED[arch]
    renamed = to_mmpretrain(dict(names) | {'head.weight': torch.rand(1), 'head.bias': torch.rand(1)})
    assert len(renamed) == RELEASED[arch]


@pytest.mark.parametrize(
    ('state', 'layout'),
    [
        (checkpoint_files.official(), 'official'),
        (to_backbone(checkpoint_files.official()), 'official'),
        (checkpoint_files.mmpretrain(), 'mmpretrain'),
        (with_prefix('backbone.', to_backbone(checkpoint_files.official())), 'mmpretrain'),
        (checkpoint_files.mmpretrain() | {'ema_backbone_norm1_weight': torch.rand(8)}, 'mmpretrain'),
        (detector(checkpoint_files.mmpretrain()), 'openmmlab'),
    ],
)
@pytest.mark.parametrize('prefix', ['', 'module.'])
def test_layout_is_detected(state, layout, prefix):
    assert detect_layout(with_prefix(prefix, state)) == layout


def test_other_network_is_named():
    with pytest.raises(ValueError, match=r'no MogaNet inside: .*conv1.weight'):
        detect_layout({'conv1.weight': torch.rand(1), 'layer1.0.weight': torch.rand(1)})


def test_official_to_mmpretrain_and_back_is_identity():
    state = checkpoint_files.official()
    there = to_mmpretrain(state)
    assert {'backbone.patch_embed1.projection.0.weight', 'backbone.norm4.running_var', 'head.fc.bias'} <= set(there)
    back = to_official(there)
    assert list(back) == list(state)
    assert all(back[name] is state[name] for name in state)


def test_mmpretrain_to_official_and_back_is_identity():
    state = checkpoint_files.mmpretrain()
    back = to_mmpretrain(to_official(state))
    assert list(back) == list(state)
    assert all(back[name] is state[name] for name in state)


@pytest.mark.parametrize('convert', [to_official, to_mmpretrain])
def test_conversion_drops_flat_ema_buffers_and_module(convert):
    state = checkpoint_files.mmpretrain()
    given = with_prefix('module.', state | {'ema_head_fc_weight': torch.rand(1)})
    assert convert(given).keys() == convert(state).keys()
    assert len(convert(given)) == TENSORS + 2


@pytest.mark.parametrize('convert', [to_official, to_mmpretrain])
def test_conversion_of_detector_is_refused(convert):
    with pytest.raises(ValueError, match=r'expected a classifier or a backbone, found .* bbox_head, neck'):
        convert(detector(checkpoint_files.mmpretrain()))


@for_each(['', 'module.', 'backbone.', 'module.backbone.', 'model.encoder.'])
def test_to_backbone_takes_any_prefix_off(prefix):
    state = checkpoint_files.official()
    backbone = to_backbone(with_prefix(prefix, state))
    assert backbone.keys() == checkpoint_files.backbone().state_dict().keys()
    assert backbone['norm4.weight'] is state['norm4.weight']


def test_to_backbone_asks_which_of_several():
    state = with_prefix('teacher.', checkpoint_files.official()) | with_prefix('student.', checkpoint_files.official())
    with pytest.raises(ValueError, match=r"prefixes \['teacher.', 'student.'\]: choose one with prefix="):
        to_backbone(state)
    assert to_backbone(state, 'student')['norm1.bias'] is state['student.norm1.bias']


@pytest.mark.parametrize('prefix', ['backbone', ''])
def test_to_backbone_refuses_wrong_prefix(prefix):
    with pytest.raises(ValueError, match=r"no MogaNet under prefix=.*, but under \['model.'\]"):
        to_backbone(with_prefix('model.', checkpoint_files.official()), prefix)


def value_of(checkpoint, **options):
    state, which = tensors_of(checkpoint, **options)
    return state['a'].item(), which


def one(value):
    return {'a': torch.tensor(value)}


@pytest.mark.parametrize('wrap', [dict, lambda s: {'state_dict': s}, lambda s: {'model': s, 'state_dict_ema': None}])
def test_state_dict_is_found_in_its_wrapper(wrap):
    assert value_of(wrap(one(1))) == (1, '')


def test_timm_ema_is_taken_unless_told():
    checkpoint = {'state_dict': one(1), 'state_dict_ema': one(2)}
    assert value_of(checkpoint) == (2, 'EMA weights (state_dict_ema)')
    assert value_of(checkpoint, ema=False) == (1, 'not the EMA weights (state_dict)')
    assert value_of({'state_dict_ema': one(2)}, ema=False)[0] == 2


def test_mmengine_ema_is_taken_unless_told():
    checkpoint = {'state_dict': one(2), 'ema_state_dict': {'steps': torch.tensor(9), 'module.a': torch.tensor(1)}}
    assert value_of(checkpoint) == (2, 'EMA weights (state_dict)')
    assert value_of(checkpoint, ema=False) == (1, 'not the EMA weights (ema_state_dict)')
    assert list(tensors_of(checkpoint, ema=False)[0]) == ['a']


def test_no_state_dict_is_named():
    with pytest.raises(ValueError, match=r"expected a state dict.*\['epoch'\]"):
        tensors_of({'epoch': 3})


def test_versions_of_modules_survive_module_prefix():
    from moganet.checkpoint.layouts import strip_module

    state = OrderedDict({'module.head.weight': torch.rand(1)})
    state._metadata = OrderedDict({'': {'version': 1}, 'module': {'version': 1}, 'module.head': {'version': 2}})
    assert strip_module(state)._metadata['head'] == {'version': 2}
