"""``moganet swap``: which channels of a config are the backbone's, and the command on configs of every MM package."""

import math
import subprocess
import sys

import pytest
from mmengine.config import Config
from tool_runs import ROOT

from moganet import cli, probe, swap
from moganet.backbone import ARCHS

SMALL = [64, 128, 320, 512]


@pytest.mark.parametrize(
    'strides, stages',
    [
        ((4.0, 8.0, 16.0, 32.0), (0, 1, 2, 3)),
        ((8.0, 16.0, 32.0), (1, 2, 3)),
        ((32.0,), (3,)),
        ((16.0,), (2,)),
        ((4.0, 8.0, 8.0, 8.0), (0, 1, 2, 3)),  # dilated
        ((16.0, 16.0, 16.0, 16.0), (0, 1, 2, 3)),  # a plain transformer
        ((16.0, 32.0, 64.0), (1, 2, 3)),
        ((None,), (3,)),  # a vector
    ],
)
def test_stages_follow_the_strides(strides, stages):
    assert swap.choose_stages(strides) == stages


@pytest.mark.parametrize('strides', [(2.0, 4.0, 8.0, 16.0, 32.0), (None, 4.0)])
def test_strides_that_no_stages_stand_for_are_refused(strides):
    with pytest.raises(ValueError, match='MogaNet at most 4 maps'):
        swap.choose_stages(strides)


OLD, NEW = (256, 512, 1024, 2048), (64, 128, 320, 512)


@pytest.mark.parametrize(
    'part, expected',
    [
        (dict(in_channels=[256, 512, 1024, 2048], out_channels=256),
         dict(in_channels=[64, 128, 320, 512], out_channels=256)),
        (dict(in_channels=(512, 1024, 2048)), dict(in_channels=(128, 320, 512))),
        (dict(in_channels=[2048, 1024, 512], out_channels=[512, 256, 128]),
         dict(in_channels=[512, 320, 128], out_channels=[512, 256, 128])),
        (dict(in_channels=[2048]), dict(in_channels=[512])),
        (dict(in_channels=2048, channels=512), dict(in_channels=512, channels=512)),
        (dict(in_channels=1024, in_index=2), dict(in_channels=320, in_index=2)),
        (dict(in_channels=[256, 2048], in_index=[0, 3]), dict(in_channels=[64, 512], in_index=[0, 3])),
        (dict(in_channels=2048, c1_in_channels=256, c1_channels=48),
         dict(in_channels=512, c1_in_channels=64, c1_channels=48)),
        (dict(in_channels=3840), dict(in_channels=1024)),  # all maps beside each other
        (dict(feature_channels=[512, 1024]), dict(feature_channels=[128, 320])),
        (dict(kernel=dict(in_channels=2048, in_index=3), update=[dict(in_channels=512)]),
         dict(kernel=dict(in_channels=512, in_index=3), update=[dict(in_channels=512)])),
        (dict(in_channels=[256, 256, 256, 256]), dict(in_channels=[256, 256, 256, 256])),  # a neck's maps
    ],
)  # fmt: skip
def test_channels_of_the_backbone_are_told_from_others(part, expected):
    swap._replace_channels(part, OLD, NEW)
    assert part == expected


def config(**model) -> Config:
    backbone = dict(type='mmdet.ResNet', depth=18)
    return Config(dict(default_scope='mmdet', model=dict(type='X', backbone=backbone, **model)))


def test_neck_hides_the_backbone_from_the_heads():
    cfg = config(neck=[dict(type='Scale'), dict(type='FPN', in_channels=[64, 128, 256, 512])],
                 bbox_head=dict(in_channels=256, feat_channels=[64, 128, 256, 512]))  # fmt: skip
    with probe.scope_of(cfg):
        changes = swap.plan(cfg, 'base').model
    assert set(changes) == {'backbone', 'neck'}
    assert changes['neck'] == [dict(type='Scale'), dict(type='FPN', in_channels=[64, 160, 320, 512])]


def test_nested_numbers_are_left_alone_and_named():
    cfg = config(roi_head=dict(bbox_head=dict(in_channels=512)), rpn_head=dict(in_channels=256))
    with probe.scope_of(cfg):
        result = swap.plan(cfg, 'xtiny')
    assert result.model['rpn_head'] == dict(in_channels=96)
    assert 'roi_head' not in result.model
    assert result.candidates == ['model.roi_head.bbox_head.in_channels = 512']


@pytest.mark.parametrize(
    'model, found',
    [(dict(head=dict(type='Y')), 'none'), (dict(backbone=dict(type='A'), teacher=dict(backbone=dict(type='B'))),
                                          'model.backbone, model.teacher.backbone')],
)  # fmt: skip
def test_models_without_one_backbone_are_refused(model, found):
    with pytest.raises(ValueError, match=f'expected one backbone in the model, found {found}'):
        swap.find_backbone(model)


def test_backbone_is_found_in_a_detector_and_keeps_its_input_channels():
    cfg = Config(dict(default_scope='mmdet', model=dict(detector=dict(
        backbone=dict(type='ResNet', depth=50, in_channels=4, init_cfg=dict(type='Pretrained', checkpoint='gone')),
        neck=dict(in_channels=[256, 512, 1024, 2048])))))  # fmt: skip
    with probe.scope_of(cfg):
        changes = swap.plan(cfg, 'small').model
    backbone = changes['detector']['backbone']
    assert backbone == dict(_delete_=True, type='MogaNet', arch='small', out_indices=(0, 1, 2, 3), in_channels=4,
                            drop_path_rate=0.1)  # fmt: skip
    assert changes['detector']['neck'] == dict(in_channels=SMALL)


def test_old_backbone_is_measured():
    with probe.scope_of(config()):
        settings = dict(type='ResNet', depth=50, out_indices=(1, 3), strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
        maps = probe.measure_backbone(settings, (256, 256))
        with pytest.raises(ValueError, match='backbone Nonesuch cannot be run by itself'):
            probe.measure_backbone(dict(type='Nonesuch'), (256, 256))
    assert maps == probe.Maps(channels=(512, 2048), strides=(8.0, 16.0))


# Config, the changed channels of its model as dotted paths, words that the command must say.
COMMANDS = [
    ('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', {'neck.in_channels': SMALL}, ['optimizer stays SGD']),
    ('mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py',
     {'decode_head.in_channels': SMALL, 'auxiliary_head.in_channels': 320, 'pretrained': None}, []),
    ('mmseg::pspnet/pspnet_r50-d8_4xb4-160k_ade20k-512x512.py',
     {'decode_head.in_channels': 512, 'auxiliary_head.in_channels': 320},
     ['output 2 had stride 8 and has 16 now', 'output 3 had stride 8 and has 32 now']),
    ('mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py', {'decode_head.in_channels': SMALL}, []),
    ('mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py',
     {'head.in_channels': 512}, []),
    ('mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py',
     {'head.in_channels': 64}, ['only the first 1 of 4 stages']),
    ('mmpretrain::convnext/convnext-tiny_32xb128_in1k.py',
     {'head.in_channels': 512, 'neck.type': 'GlobalAveragePooling'}, ['a neck does that now']),
]  # fmt: skip


@pytest.mark.parametrize('name, channels, words', COMMANDS, ids=[name for name, _, _ in COMMANDS])
def test_command_writes_a_config_that_builds(name, channels, words, tmp_path, capsys):
    out = tmp_path / 'new/child.py'
    assert cli.main(['swap', name, '--arch', 'small', '--out', str(out)]) == 0
    said = capsys.readouterr().err
    assert swap.PROVEN in said
    assert [word for word in words if word not in said] == []
    cfg = Config.fromfile(out)
    assert cfg.model.backbone.type == 'MogaNet'
    assert cfg.model.backbone.init_cfg.checkpoint == 'moganet://small_1k'
    assert 'depth' not in cfg.model.backbone
    assert cfg.custom_imports['imports'] == ['moganet']
    for path, expected in channels.items():
        node = cfg.model
        for key in path.split('.'):
            node = node[key]
        assert node == expected, path


def test_command_takes_a_path_and_prints(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'mine').mkdir()
    mine = tmp_path / 'mine/own.py'
    mine.write_text("_base_ = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'\ncustom_imports = dict(imports=['math'])\n")
    assert cli.main(['swap', 'mine/own.py', '--arch', 'tiny']) == 0
    text = capsys.readouterr().out
    assert "_base_ = 'mine/own.py'" in text
    assert "custom_imports = dict(imports=['math', 'moganet'])" in text
    assert 'head=dict(in_channels=256)' in text
    assert cli.main(['swap', 'mine/own.py', '--arch', 'tiny', '--out', 'theirs/child.py']) == 0
    assert "_base_ = '../mine/own.py'" in (tmp_path / 'theirs/child.py').read_text()
    assert Config.fromfile(tmp_path / 'theirs/child.py').model.head.in_channels == 256


def test_command_fails_if_the_model_cannot_be_built(tmp_path, capsys):
    # What the extra layers of this neck read is named by its out_channels.
    assert cli.main(['swap', 'mmdet::ssd/ssd300_coco.py', '--arch', 'xtiny', '--out', str(tmp_path / 'child.py')]) == 1
    said = capsys.readouterr().err
    assert 'the swapped model cannot be built: AssertionError' in said
    assert 'could not decide: model.data_preprocessor' in said


def test_command_fails_if_the_heads_do_not_fit_and_names_what_it_left_alone(tmp_path, capsys):
    own = tmp_path / 'own.py'
    own.write_text("""
_base_ = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
task = dict(type='LinearClsHead', num_classes=3, in_channels=512)
model = dict(head=dict(_delete_=True, type='MultiTaskHead', task_heads=dict(colour=task)))
""")
    assert cli.main(['swap', str(own), '--arch', 'xtiny']) == 1
    said = capsys.readouterr().err
    assert 'could not decide: model.head.task_heads.colour.in_channels = 512' in said
    assert 'the swapped model cannot be run through its heads: ' in said


def test_command_says_what_cannot_be_run_here_by_the_original_either(tmp_path, capsys):
    # This neck has an operator for GPUs alone.
    assert cli.main(['swap', 'mmdet::carafe/faster-rcnn_r50_fpn-carafe_1x_coco.py', '--arch', 'xtiny']) == 0
    said = capsys.readouterr().err
    assert 'could not decide: the swapped model cannot be run up to its neck here, nor can the original (' in said


@pytest.mark.parametrize(
    'name, words',
    [
        ('nowhere.py', 'config nowhere.py does not exist'),
        ('mmdet::faster_rcnn/no.py', 'config mmdet::faster_rcnn/no.py cannot be read'),
        ('mmdet::_base_/schedules/schedule_1x.py', 'has no model'),
        ('mmpretrain::vgg/vgg11_8xb32_in1k.py', 'no head names the 1000 outputs of backbone VGG'),
        ('mmdet::detectors/cascade-rcnn_r50-rfp_1x_coco.py', 'the backbone returns 5 outputs'),
    ],
)
def test_command_says_in_one_line_what_it_cannot_take(name, words, capsys):
    assert cli.main(['swap', name]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith('error: ') and words in lines[-1]


def test_module_runs_as_the_console_script():
    done = subprocess.run([sys.executable, '-m', 'moganet', 'swap', '--help'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert '--arch {xtiny,tiny,small,base,large,xlarge}' in done.stdout


def test_sizes_have_a_rate_of_stochastic_depth():
    assert set(swap.DROP_PATH_RATES) == set(ARCHS)
    assert all(0 < rate < 1 and math.isfinite(rate) for rate in swap.DROP_PATH_RATES.values())
