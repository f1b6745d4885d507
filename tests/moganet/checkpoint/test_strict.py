"""Loading into backbones and whole models: all tensors, or an error with the names that do not fit."""

import argparse

import pytest
import torch
from mmengine.model import BaseModule
from torch import nn

from helpers import checkpoint_files
from helpers.cases import for_each
from helpers.checkpoint_files import ARCH, CLASSES, TENSORS, Classifier, Detector
from moganet import MogaNet, fuse
from moganet.checkpoint import gate_of, load_backbone, load_for_inference, load_model

OPENMIXUP_SMALL = 'moga_small_ema_sz224_8xb128_ep300.pth'
OPENMIXUP_SINGLE = 'moga_small_ema_sz224_8xb128_no_forcefp32_ep300.pth'


@pytest.fixture
def save(tmp_path):
    """Write a checkpoint file and return its path."""

    def write(name='w.pth', **content):
        torch.save(content, tmp_path / name)
        return str(tmp_path / name)

    return write


def equal(model, state):
    return all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def with_prefix(prefix, state):
    return {prefix + name: value for name, value in state.items()}


def test_official_file_fills_backbone(save):
    state, model = checkpoint_files.official(), checkpoint_files.backbone()
    path = save(state_dict=state, arch='moganet_tiny', author='MogaNet')
    line = load_backbone(model, path)
    assert equal(model, state)
    assert line == (
        f'loaded {TENSORS} of {TENSORS} tensors from {path} (official layout; gate single; left out head.* (2 tensors))'
    )


def test_released_xtiny_has_703_backbone_tensors():
    line = load_backbone(MogaNet('xtiny'), checkpoint_files.official(arch='xtiny'))
    assert line.startswith('loaded 703 of 703 tensors')


def test_openmixup_file_fills_backbone(save):
    state = checkpoint_files.mmpretrain()
    buffers = {f'ema_{name.replace(".", "_")}': torch.zeros(1) for name in list(state)[:3]}
    model = checkpoint_files.backbone()
    line = load_backbone(model, save(state_dict=state | buffers, meta={'CLASSES': ('a', 'b'), 'epoch': 300}))
    assert equal(model, {name.removeprefix('backbone.'): value for name, value in state.items()})
    assert "prefix 'backbone.' taken off" in line
    assert 'left out ema_*, head.* (5 tensors)' in line


def test_detector_file_of_data_parallel_run_fills_backbone(save):
    detector = Detector()
    state = with_prefix('module.', detector.state_dict())
    model = checkpoint_files.backbone()
    line = load_backbone(model, save(state_dict=state, meta={'CLASSES': ('person',), 'PALETTE': None}))
    assert equal(model, detector.backbone.state_dict())
    assert "prefix 'module.backbone.' taken off" in line
    assert 'gate not recorded' in line


def test_ema_weights_are_taken_unless_told(save):
    raw, averaged = checkpoint_files.official(), checkpoint_files.official()
    path = save(state_dict=raw, state_dict_ema=averaged)
    model = checkpoint_files.backbone()
    assert 'EMA weights (state_dict_ema)' in load_backbone(model, path)
    assert equal(model, averaged)
    assert 'not the EMA weights' in load_backbone(model, path, ema=False)
    assert equal(model, raw)


def test_backbone_cut_by_out_indices_leaves_later_stages_out():
    state = checkpoint_files.official()
    model = checkpoint_files.backbone(out_indices=(0, 1))
    expected = 36 * 2 + 14 + 7 + 5 * 2
    assert load_backbone(model, state).startswith(f'loaded {expected} of {expected} tensors')
    assert equal(model, state)


def test_mismatch_lists_both_sides():
    state = checkpoint_files.official()
    for name in [name for name in state if name.startswith('blocks2.0.attn.')]:
        state[name.replace('attn', 'attention')] = state.pop(name)
    with pytest.raises(ValueError, match='does not fit') as error:
        load_backbone(checkpoint_files.backbone(), state)
    message = str(error.value)
    # proj_1, gate, proj_2 and four convolutions of the value branch with two tensors each, and sigma
    assert '15 missing: blocks2.0.attn.gate.bias,' in message
    assert '15 left over: blocks2.0.attention.gate.bias,' in message
    assert message.count('and 10 more') == 2
    assert 'allow=[...]' in message


def test_mismatch_leaves_backbone_alone():
    state, model = checkpoint_files.official(), checkpoint_files.backbone()
    del state['norm4.bias']
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(ValueError, match=r'1 missing: norm4.bias'):
        load_backbone(model, state)
    assert equal(model, before)


def test_allowed_names_may_differ():
    state, model = checkpoint_files.official(in_channels=4), checkpoint_files.backbone()
    state['norm9.weight'] = state.pop('norm4.weight')
    line = load_backbone(model, state, allow=['norm?.weight', 'patch_embed1.projection.0.weight'])
    assert line.startswith(f'loaded {TENSORS - 2} of {TENSORS} tensors')
    assert torch.equal(model.norm4.bias, state['norm4.bias'])
    assert torch.equal(model.norm4.weight, torch.ones(32))


def test_allow_must_be_a_list():
    with pytest.raises(ValueError, match=r"allow='norm4.*': expected a list"):
        load_backbone(checkpoint_files.backbone(), checkpoint_files.official(), allow='norm4.*')


def test_wrong_size_names_both():
    with torch.device('meta'):
        state = MogaNet('small').state_dict()
    with pytest.raises(ValueError, match=r'holds MogaNet small \(widths 64, 128, 320, 512; .* the model is tiny \('):
        load_backbone(MogaNet('tiny'), state)


def test_wrong_depth_of_unnamed_size_shows_blocks():
    state = checkpoint_files.official(arch=dict(ARCH, depths=(1, 2, 2, 1)))
    with pytest.raises(ValueError, match=r'of no named size .*blocks 1, 2, 2, 1.*the model is .*blocks 1, 1, 2, 1'):
        load_backbone(checkpoint_files.backbone(), state)


def test_wrong_input_channels_are_named():
    with pytest.raises(ValueError, match=r'takes 4 input channels, the model 3: set in_channels=4.*allow='):
        load_backbone(checkpoint_files.backbone(), checkpoint_files.official(in_channels=4))


def test_other_network_is_refused(save):
    with pytest.raises(ValueError, match=r'w.pth: no MogaNet inside.*conv1.weight'):
        load_backbone(checkpoint_files.backbone(), save(state_dict={'conv1.weight': torch.rand(1)}))


CONFIG = "model = dict(type='ImageClassifier', backbone=dict(type='MogaNet', arch='small', {}), neck=dict(type='G'))"


@for_each(
    [
        (OPENMIXUP_SMALL, {}, 'double'),
        (OPENMIXUP_SINGLE, {}, 'single'),
        ('moganet_small_sz224_8xbs128_ep300.pth.tar', {}, 'single'),
        ('moganet://openmixup_base_1k', {}, 'double'),
        ('w.pth', {}, None),
        ('w.pth', {'meta': {'gate': 'double'}}, 'double'),
        ('w.pth', {'meta': {'cfg': CONFIG.format("gate='double'")}}, 'double'),
        ('w.pth', {'meta': {'cfg': CONFIG.format('')}}, 'single'),
        ('w.pth', {'meta': {'config': CONFIG.format('attn_force_fp32=True')}}, 'double'),
        ('w.pth', {'meta': {'config': CONFIG.format('attn_force_fp32=False')}}, 'single'),
        ('w.pth', {'meta': {'config': "model = {'backbone': {'type': 'MogaNet_feat', 'arch': 's'}}"}}, 'single'),
        ('w.pth', {'meta': {'config': CONFIG.replace('MogaNet', 'ResNet')}}, None),
        ('w.pth', {'meta': {'cfg': f'{CONFIG.format("")}\n{CONFIG.format("gate=" + repr("double"))}'}}, None),
        ('w.pth', {'meta': {'cfg': 'model = dict('}}, None),
        ('w.pth', {'arch': 'moganet_small'}, 'single'),
        ('w.pth', {'arch': 'moganet_small', 'args': argparse.Namespace(attn_force_fp32=True)}, 'double'),
        ('w.pth', {'arch': 'resnet50'}, None),
    ]
)
def test_gate_is_read_from_name_and_content(name, content, gate):
    assert gate_of(content, name) == gate


@pytest.mark.parametrize('name', [OPENMIXUP_SMALL, OPENMIXUP_SINGLE])
def test_published_file_needs_its_gate(save, name):
    path = save(name, state_dict=checkpoint_files.mmpretrain())
    needed, other = ('double', 'single') if name == OPENMIXUP_SMALL else ('single', 'double')
    with pytest.raises(ValueError, match=f"trained with gate='{needed}', the model has gate='{other}': set gate="):
        load_backbone(checkpoint_files.backbone(gate=other), path)
    assert f'gate {needed}' in load_backbone(checkpoint_files.backbone(gate=needed), path)


@pytest.mark.parametrize('layout', ['official', 'mmpretrain'])
def test_classifier_loads_from_both_layouts(save, layout):
    state = checkpoint_files.mmpretrain()
    renamed = {name.removeprefix('backbone.').replace('head.fc', 'head'): value for name, value in state.items()}
    given = renamed if layout == 'official' else state
    model = Classifier()
    line = load_model(model, save(state_dict=with_prefix('module.', given), arch='moganet_x'))
    assert equal(model, state)
    assert line.startswith(f'loaded {TENSORS + 2} of {TENSORS + 2} tensors')
    assert ('official layout' in line) == (layout == 'official')


def test_wrong_class_count_names_key_and_numbers(save):
    path = save(state_dict=checkpoint_files.official(classes=10))
    with pytest.raises(ValueError, match=r'head.fc.weight has 10 outputs, the model 5: .*Set num_classes.*backbone'):
        load_model(Classifier(), path)
    line = load_model(Classifier(), path, allow=['head.fc.*'])
    assert line.startswith(f'loaded {TENSORS} of {TENSORS + 2} tensors')


@pytest.mark.parametrize('load', [load_backbone, load_model])
def test_weights_of_a_fused_model_are_refused_as_such(load):
    model = checkpoint_files.backbone() if load is load_backbone else Classifier()
    with pytest.raises(ValueError, match=r'holds the weights of a fused model: .*fuse\(model\).load_state_dict'):
        load(model, fuse(model).state_dict())


@pytest.mark.parametrize('prefix', ['backbone.', 'module.backbone.'])
def test_bare_backbone_loads_as_model(prefix):
    model, state = checkpoint_files.backbone(), checkpoint_files.official()
    load_model(model, with_prefix(prefix, state))
    assert equal(model, state)


def test_detector_loads_through_data_parallel():
    state = Detector().state_dict()
    model = nn.DataParallel(Detector())
    line = load_model(model, {'state_dict': with_prefix('module.', state)})
    assert equal(model.module, state)
    assert line.startswith(f'loaded {TENSORS + 4} of {TENSORS + 4} tensors')


def test_whole_model_mismatch_lists_both_sides():
    state = Detector().state_dict()
    state['mask_head.weight'] = state.pop('bbox_head.weight')
    with pytest.raises(ValueError, match=r'1 missing: bbox_head.weight; 1 left over: mask_head.weight'):
        load_model(Detector(), state)


def test_whole_model_of_other_shapes_lists_them():
    state = Detector().state_dict() | {
        'neck.weight': torch.rand(6, 32, 1, 1),
        'bbox_head.weight': torch.rand(3, 6, 1, 1),
    }
    with pytest.raises(ValueError, match=r'2 of another shape: bbox_head.weight, neck.weight'):
        load_model(Detector(), state)


def test_classifier_file_in_detector_points_to_init_cfg():
    with pytest.raises(ValueError, match=r"the model is another: .*backbone.init_cfg=dict\(type='Pretrained'"):
        load_model(Detector(), checkpoint_files.official())


@pytest.mark.parametrize(
    ('options', 'match'),
    [
        ({'gate': 'double'}, "trained with gate='single'"),
        ({'arch': dict(ARCH, depths=(1, 1, 1, 1))}, 'blocks 1, 1, 2, 1.*blocks 1, 1, 1, 1'),
        ({'in_channels': 1}, 'takes 3 input channels, the model 1'),
    ],
)
def test_whole_model_checks_its_backbone(options, match):
    with pytest.raises(ValueError, match=match):
        load_model(Classifier(**options), {'state_dict': checkpoint_files.mmpretrain(), 'meta': {'gate': 'single'}})


def test_model_without_moganet_is_strict_too():
    with pytest.raises(ValueError, match='1 missing: bias; 1 left over: offset'):
        load_model(nn.Linear(2, 3), {'weight': torch.rand(3, 2), 'offset': torch.rand(3)})


class Renaming(nn.Module):
    """Model with a loading hook, as mmpose's heads have for weights of older versions."""

    def __init__(self):
        super().__init__()
        self.head = nn.Linear(2, 2)
        self._register_load_state_dict_pre_hook(self.rename)

    @staticmethod
    def rename(state, prefix, metadata, *args):
        if metadata.get('version') is None:
            for name in [name for name in state if name.startswith('keypoint_head.')]:
                state[name.removeprefix('keypoint_')] = state.pop(name)


def test_names_that_the_model_itself_renames_fit():
    model, weight = Renaming(), torch.rand(2, 2)
    state = {'keypoint_head.weight': weight, 'keypoint_head.bias': torch.rand(2)}
    assert load_model(model, state).startswith('loaded 2 of 2')
    assert torch.equal(model.head.weight, weight)


def test_versions_in_a_file_reach_the_hooks_of_the_model(save):
    model, seen = Renaming(), []
    model._register_load_state_dict_pre_hook(lambda state, prefix, metadata, *args: seen.append(metadata))
    load_model(model, save(state_dict=Renaming().state_dict()))
    assert seen == [{'version': 1}]


class Wrapper(BaseModule):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = backbone
        self.other = nn.Linear(2, 2)


@pytest.mark.parametrize('prefix', [None, 'backbone', 'backbone.'])
def test_init_cfg_loads_inside_a_model(save, prefix):
    state = Detector().state_dict()
    init_cfg = {'type': 'Pretrained', 'checkpoint': save(state_dict=state)}
    model = Wrapper(checkpoint_files.backbone(init_cfg=init_cfg if prefix is None else dict(init_cfg, prefix=prefix)))
    model.init_weights()
    assert equal(model.backbone, {name.removeprefix('backbone.'): value for name, value in state.items()})
    assert model.backbone.is_init


def test_init_cfg_loads_once(save):
    path = save(state_dict=checkpoint_files.official())
    model = checkpoint_files.backbone(init_cfg={'type': 'Pretrained', 'checkpoint': path})
    model.init_weights()
    nn.init.zeros_(model.norm4.weight)
    model.init_weights()
    assert not model.norm4.weight.any()


def test_init_cfg_is_strict_save_for_allowed_names(save):
    state = checkpoint_files.official()
    del state['norm4.bias']
    init_cfg = {'type': 'Pretrained', 'checkpoint': save(state_dict=state)}
    with pytest.raises(ValueError, match=r'1 missing: norm4.bias'):
        checkpoint_files.backbone(init_cfg=init_cfg).init_weights()
    allowing = dict(init_cfg, allow=['norm4.*'])
    constant = {'type': 'Constant', 'layer': 'BatchNorm2d', 'val': 2.0, 'bias': 3.0}
    model = checkpoint_files.backbone(init_cfg=[allowing, constant])
    model.init_weights()
    assert torch.equal(model.norm4.weight, state['norm4.weight'])
    assert torch.equal(model.norm4.bias, torch.full((32,), 3.0))
    assert model.init_cfg == [allowing, constant]


def test_init_cfg_of_another_type_is_mmengines():
    model = checkpoint_files.backbone(init_cfg={'type': 'Constant', 'layer': 'BatchNorm2d', 'val': 2.0})
    model.init_weights()
    assert torch.equal(model.norm4.weight, torch.full((32,), 2.0))


def test_init_cfg_chooses_weights_without_ema(save):
    state = checkpoint_files.official()
    path = save(state_dict=state, state_dict_ema=checkpoint_files.official())
    model = checkpoint_files.backbone(init_cfg={'type': 'Pretrained', 'checkpoint': path, 'ema': False})
    model.init_weights()
    assert equal(model, state)
    assert state['head.bias'].numel() == CLASSES


@pytest.mark.parametrize(
    ('meta', 'classes'),
    [
        ({'dataset_meta': {'classes': ('cat', 'dog')}}, ['cat', 'dog']),
        ({'CLASSES': ('a', 'b')}, ['a', 'b']),
        ({}, None),
    ],
)
def test_loading_for_inference_tells_the_classes_of_the_file(tmp_path, meta, classes):
    source = torch.nn.Linear(2, 2)
    path = tmp_path / 'w.pth'
    torch.save({'meta': meta, 'state_dict': source.state_dict()}, path)
    model = torch.nn.Linear(2, 2)
    assert load_for_inference(model, path) == classes
    assert torch.equal(model.weight, source.weight)
