"""``moganet swap``: finding the channels of a backbone in a config, and the command on configs of every MM package."""

import math
import subprocess
import sys

import pytest
from mmengine.config import Config

from helpers.cases import for_each
from helpers.tool_runs import ROOT
from moganet import commands
from moganet.arch import ARCHS
from moganet.swap import channels, plan, plan_swap, probe, verify

SMALL = [64, 128, 320, 512]


@for_each(
    [
        ((4.0, 8.0, 16.0, 32.0), (0, 1, 2, 3)),
        ((8.0, 16.0, 32.0), (1, 2, 3)),
        ((32.0,), (3,)),
        ((16.0,), (2,)),
        ((4.0, 8.0, 8.0, 8.0), (0, 1, 2, 3)),  # dilated
        ((16.0, 16.0, 16.0, 16.0), (0, 1, 2, 3)),  # a plain transformer
        ((16.0, 32.0, 64.0), (1, 2, 3)),
        ((None,), (3,)),  # a vector
    ]
)
def test_stages_follow_the_strides(strides, stages):
    assert plan.choose_stages(strides) == stages


@pytest.mark.parametrize('strides', [(2.0, 4.0, 8.0, 16.0, 32.0), (None, 4.0)])
def test_strides_that_no_stages_stand_for_are_refused(strides):
    with pytest.raises(ValueError, match='MogaNet at most 4 maps'):
        plan.choose_stages(strides)


OLD, NEW = (256, 512, 1024, 2048), (64, 128, 320, 512)


@for_each(
    [
        (
            dict(in_channels=[256, 512, 1024, 2048], out_channels=256),
            dict(in_channels=[64, 128, 320, 512], out_channels=256),
        ),
        (dict(in_channels=(512, 1024, 2048)), dict(in_channels=(128, 320, 512))),
        (
            dict(in_channels=[2048, 1024, 512], out_channels=[512, 256, 128]),
            dict(in_channels=[512, 320, 128], out_channels=[512, 256, 128]),
        ),
        (dict(in_channels=[2048]), dict(in_channels=[512])),
        (dict(in_channels=2048, channels=512), dict(in_channels=512, channels=512)),
        (dict(in_channels=1024, in_index=2), dict(in_channels=320, in_index=2)),
        (dict(in_channels=[256, 2048], in_index=[0, 3]), dict(in_channels=[64, 512], in_index=[0, 3])),
        (
            dict(in_channels=2048, c1_in_channels=256, c1_channels=48),
            dict(in_channels=512, c1_in_channels=64, c1_channels=48),
        ),
        (dict(in_channels=3840), dict(in_channels=1024)),  # all maps beside each other
        (dict(feature_channels=[512, 1024]), dict(feature_channels=[128, 320])),
        (
            dict(kernel=dict(in_channels=2048, in_index=3), update=[dict(in_channels=512)]),
            dict(kernel=dict(in_channels=512, in_index=3), update=[dict(in_channels=512)]),
        ),
        (dict(in_channels=[256, 256, 256, 256]), dict(in_channels=[256, 256, 256, 256])),  # a neck's maps
        (dict(in_channels=2048, channels=2048, num_convs=0), dict(in_channels=512, channels=512, num_convs=0)),
        (dict(in_channels=2048, channels=2048, num_convs=1), dict(in_channels=512, channels=2048, num_convs=1)),
        (dict(in_channels=2048, channels=99, num_convs=0), dict(in_channels=512, channels=99, num_convs=0)),
        (
            dict(in_channels=[256, 512], channels=768, num_convs=0),
            dict(in_channels=[64, 128], channels=192, num_convs=0),
        ),
    ]
)
def test_channels_of_the_backbone_are_replaced_and_others_are_not(part, expected):
    channels.replace(part, OLD, NEW)
    assert part == expected


def config(**model) -> Config:
    backbone = dict(type='mmdet.ResNet', depth=18)
    return Config(dict(default_scope='mmdet', model=dict(type='X', backbone=backbone, **model)))


def test_neck_hides_the_backbone_from_the_heads():
    cfg = config(
        neck=[dict(type='Scale'), dict(type='FPN', in_channels=[64, 128, 256, 512])],
        bbox_head=dict(in_channels=256, feat_channels=[64, 128, 256, 512]),
    )
    with probe.scope_of(cfg):
        changes = plan_swap(cfg, 'base').model
    assert set(changes) == {'backbone', 'neck'}
    assert changes['neck'] == [dict(type='Scale'), dict(type='FPN', in_channels=[64, 160, 320, 512])]


def test_nested_numbers_are_left_alone_and_named_unless_deep():
    cfg = config(roi_head=dict(bbox_head=dict(in_channels=512)), rpn_head=dict(in_channels=256))
    with probe.scope_of(cfg):
        result, deep = plan_swap(cfg, 'xtiny'), plan_swap(cfg, 'xtiny', deep=True)
    assert result.model['rpn_head'] == dict(in_channels=96)
    assert 'roi_head' not in result.model
    assert result.candidates == ['model.roi_head.bbox_head.in_channels = 512']
    assert deep.model['roi_head'] == dict(bbox_head=dict(in_channels=192))
    assert deep.candidates == []


def test_heads_follow_what_a_neck_passes_on():
    # The new map of the neck has the channels it had; the others are those of the backbone.
    neck = dict(type='mmseg.JPU', in_channels=(128, 256, 512), mid_channels=128)
    cfg = config(
        neck=neck, decode_head=dict(in_channels=512, in_index=2), auxiliary_head=dict(in_channels=256, in_index=1)
    )
    cfg.model.backbone.out_indices = (1, 2, 3)
    with probe.scope_of(Config(dict(default_scope='mmseg'))):
        changes = plan_swap(cfg, 'small').model
    assert changes['neck'] == dict(in_channels=(128, 320, 512))
    assert 'decode_head' not in changes
    assert changes['auxiliary_head'] == dict(in_channels=320)


@pytest.mark.parametrize(
    'neck',
    [
        dict(type='Feature2Pyramid', embed_dim=8, norm_cfg=dict(type='BN')),
        dict(type='MultiLevelNeck', in_channels=[8] * 4, out_channels=8, scales=[4, 2, 1, 0.5]),
    ],
)
def test_pyramid_of_a_plain_transformer_is_left_out(neck):
    backbone = dict(
        type='VisionTransformer', img_size=(256, 256), embed_dims=8, num_layers=4, num_heads=2, out_indices=(0, 1, 2, 3)
    )
    heads = dict(decode_head=dict(in_channels=[8] * 4), auxiliary_head=dict(in_channels=8, in_index=2))
    cfg = Config(dict(default_scope='mmseg', model=dict(backbone=backbone, neck=neck, **heads)))
    with probe.scope_of(cfg):
        result = plan_swap(cfg, 'small')
    assert result.model['neck'] is None
    assert result.model['decode_head'] == dict(in_channels=SMALL)
    assert result.model['auxiliary_head'] == dict(in_channels=320)
    assert any(line.startswith('no neck: ') and '4, 8, 16, 32' in line for line in result.notices)


def test_size_of_the_map_that_a_head_reads_follows_the_stride():
    cfg = config(head=dict(in_channels=512, in_featuremap_size=(24, 32)))
    cfg.model.backbone.update(strides=(1, 2, 1, 1), dilations=(1, 1, 2, 4))
    with probe.scope_of(cfg):
        changes = plan_swap(cfg, 'xtiny').model
    assert changes['head'] == dict(in_channels=192, in_featuremap_size=(6, 8))


@pytest.mark.parametrize(
    ('model', 'found'),
    [
        (dict(head=dict(type='Y')), 'none'),
        (
            dict(backbone=dict(type='A'), teacher=dict(backbone=dict(type='B'))),
            'model.backbone, model.teacher.backbone',
        ),
    ],
)
def test_models_without_one_backbone_are_refused(model, found):
    with pytest.raises(ValueError, match=f'expected one backbone in the model, found {found}'):
        plan.find_backbone(model)


def test_backbone_is_found_in_a_detector_and_keeps_its_input_channels():
    cfg = Config(
        dict(
            default_scope='mmdet',
            model=dict(
                detector=dict(
                    backbone=dict(
                        type='ResNet', depth=50, in_channels=4, init_cfg=dict(type='Pretrained', checkpoint='gone')
                    ),
                    neck=dict(in_channels=[256, 512, 1024, 2048]),
                )
            ),
        )
    )
    with probe.scope_of(cfg):
        changes = plan_swap(cfg, 'small').model
    backbone = changes['detector']['backbone']
    assert backbone == dict(
        _delete_=True, type='MogaNet', arch='small', out_indices=(0, 1, 2, 3), in_channels=4, drop_path_rate=0.1
    )
    assert changes['detector']['neck'] == dict(in_channels=SMALL)


# Config, the changed channels of its model as dotted paths, words that the command must print.
COMMANDS = [
    ('mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py', {'neck.in_channels': SMALL}, ['optimizer stays SGD']),
    (
        'mmseg::upernet/upernet_r50_4xb4-160k_ade20k-512x512.py',
        {'decode_head.in_channels': SMALL, 'auxiliary_head.in_channels': 320, 'pretrained': None},
        [],
    ),
    (
        'mmseg::pspnet/pspnet_r50-d8_4xb4-160k_ade20k-512x512.py',
        {'decode_head.in_channels': 512, 'auxiliary_head.in_channels': 320},
        ['output 2 had stride 8 and has 16 now', 'output 3 had stride 8 and has 32 now'],
    ),
    ('mmseg::segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py', {'decode_head.in_channels': SMALL}, []),
    (
        'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py',
        {'head.in_channels': 512},
        [],
    ),
    (
        'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192.py',
        {'head.in_channels': 64},
        ['only the first 1 of 4 stages'],
    ),
    (
        'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm-vis_res50_8xb64-210e_coco-aic-256x192-merge.py',
        {'head.pose_cfg.in_channels': 512},
        ['model.head.pose_cfg.in_channels = 2048 was replaced too'],
    ),
    (
        'mmpretrain::convnext/convnext-tiny_32xb128_in1k.py',
        {'head.in_channels': 512, 'neck.type': 'GlobalAveragePooling'},
        ['a neck does that now'],
    ),
]


@pytest.mark.parametrize(('name', 'channels', 'words'), COMMANDS, ids=[name for name, _, _ in COMMANDS])
def test_command_writes_a_config_that_builds(name, channels, words, tmp_path, capsys):
    out = tmp_path / 'new/child.py'
    assert commands.main(['swap', name, '--arch', 'small', '--out', str(out)]) == 0
    said = capsys.readouterr().err
    assert verify.PROVEN in said
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
    assert commands.main(['swap', 'mine/own.py', '--arch', 'tiny']) == 0
    text = capsys.readouterr().out
    assert "_base_ = 'mine/own.py'" in text
    assert "custom_imports = dict(imports=['math', 'moganet'])" in text
    assert 'head=dict(in_channels=256)' in text
    assert commands.main(['swap', 'mine/own.py', '--arch', 'tiny', '--out', 'theirs/child.py']) == 0
    assert "_base_ = '../mine/own.py'" in (tmp_path / 'theirs/child.py').read_text()
    assert Config.fromfile(tmp_path / 'theirs/child.py').model.head.in_channels == 256


def test_command_fails_if_the_model_cannot_be_built(tmp_path, capsys):
    # What the extra layers of this neck read is named by its out_channels.
    out = str(tmp_path / 'child.py')
    assert commands.main(['swap', 'mmdet::ssd/ssd300_coco.py', '--arch', 'xtiny', '--out', out]) == 1
    said = capsys.readouterr().err
    assert 'the swapped model cannot be built: AssertionError in ssd_neck.py, line ' in said
    assert 'could not decide: model.data_preprocessor' in said


def test_command_looks_into_the_parts_of_a_head_if_the_model_cannot_be_run_otherwise(tmp_path, capsys):
    own = tmp_path / 'own.py'
    own.write_text("""
_base_ = 'mmpretrain::resnet/resnet18_8xb32_in1k.py'
task = dict(type='LinearClsHead', num_classes=3, in_channels=512)
model = dict(head=dict(_delete_=True, type='MultiTaskHead', task_heads=dict(colour=task)))
""")
    assert commands.main(['swap', str(own), '--arch', 'xtiny', '--out', str(tmp_path / 'child.py')]) == 0
    said = capsys.readouterr().err
    assert 'model.head.task_heads.colour.in_channels = 512 was replaced too' in said
    assert 'could not decide: model.head' not in said
    assert Config.fromfile(tmp_path / 'child.py').model.head.task_heads.colour.in_channels == 192


def test_command_fails_if_the_heads_do_not_fit_and_names_what_it_left_alone(tmp_path, capsys):
    own = tmp_path / 'own.py'
    # A grouped convolution of as many groups as the old backbone had channels.
    own.write_text("""
_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm-vis_res50_8xb64-210e_coco-aic-256x192-merge.py'
model = dict(head=dict(pose_cfg=dict(type='ViPNASHead', deconv_out_channels=(2048,), deconv_kernel_sizes=(4,),
                                     deconv_num_groups=(2048,), decoder=None)))
""")
    assert commands.main(['swap', str(own), '--arch', 'xtiny']) == 1
    said = capsys.readouterr().err
    assert 'could not decide: model.head.pose_cfg.in_channels = 2048' in said
    assert 'the swapped model cannot be run through its heads: ' in said


def test_command_fails_if_the_codec_expects_maps_of_another_size(capsys):
    config = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_alexnet_8xb64-210e_coco-256x192.py'
    assert commands.main(['swap', config, '--arch', 'xtiny']) == 1
    said = capsys.readouterr().err
    assert 'the swapped model returns 17x64x48, the original 17x56x40: ' in said
    assert 'codec.heatmap_size' in said


def test_command_runs_heads_that_need_more_on_the_crops_of_the_config(capsys):
    # A pooling of 49 pixels, which 512 x 1024 pixels at stride 16 cannot fill, and at the old stride of 8 did.
    config = 'mmseg::mobilenet_v3/mobilenet-v3-d8_lraspp_4xb4-320k_cityscapes-512x1024.py'
    assert commands.main(['swap', config, '--arch', 'xtiny']) == 1
    assert 'the swapped model cannot be run through its heads: Given input size: (96x32x64)' in capsys.readouterr().err


def test_command_excuses_errors_that_the_original_has_here_too(tmp_path, capsys):
    # This neck has an operator for GPUs alone.
    assert commands.main(['swap', 'mmdet::carafe/faster-rcnn_r50_fpn-carafe_1x_coco.py', '--arch', 'xtiny']) == 0
    said = capsys.readouterr().err
    assert 'could not decide: the swapped model cannot be run up to its neck here, nor can the original (' in said


@pytest.mark.parametrize(
    ('name', 'words'),
    [
        ('nowhere.py', 'config nowhere.py does not exist'),
        ('mmdet::faster_rcnn/no.py', 'config mmdet::faster_rcnn/no.py cannot be read'),
        ('mmdet::_base_/schedules/schedule_1x.py', 'has no model'),
        ('mmpretrain::vgg/vgg11_8xb32_in1k.py', 'no head names the 1000 outputs of backbone VGG'),
        ('mmdet::detectors/cascade-rcnn_r50-rfp_1x_coco.py', 'the backbone returns 5 outputs'),
    ],
)
def test_command_refuses_unusable_configs_in_one_line(name, words, capsys):
    assert commands.main(['swap', name]) == 1
    lines = capsys.readouterr().err.strip().splitlines()
    assert lines[-1].startswith('error: ')
    assert words in lines[-1]


def test_module_runs_as_the_console_script():
    done = subprocess.run([sys.executable, '-m', 'moganet', 'swap', '--help'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0
    assert '--arch {xtiny,tiny,small,base,large,xlarge}' in done.stdout


def test_sizes_have_a_rate_of_stochastic_depth():
    assert set(plan.DROP_PATH_RATES) == set(ARCHS)
    assert all(0 < rate < 1 and math.isfinite(rate) for rate in plan.DROP_PATH_RATES.values())
