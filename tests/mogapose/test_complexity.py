"""Parameters and multiply-adds of the pose estimators against the published figures and closed forms."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmpose.registry import MODELS
from modelindex.load_model_index import load
from torch import nn

from helpers.cases import for_each
from helpers.tool_runs import run_tool
from moganet.paper.metafile import CHECKOUT, rows
from moganet.run.config import load_config
from mogapose.complexity import count, default_shape

# Millions of parameters and 1e9 multiply-adds, worked out layer by layer; then both as the released README prints them.
PUBLISHED = """
moganet_xt_256x192 5.653 1.843  5.6  1.8
moganet_xt_384x288 5.653 4.147  5.6  4.2
moganet_t_256x192  8.092 2.153  8.1  2.2
moganet_t_384x288  8.092 4.844  8.1  4.9
moganet_s_256x192  29.02 5.989  29.0 6.0
moganet_s_384x288  29.02 13.48  29.0 13.5
moganet_b_256x192  47.41 10.85  47.4 10.9
moganet_b_384x288  47.41 24.42  47.4 24.4
"""
ROWS = [line.split() for line in PUBLISHED.split('\n') if line]
# Misprints and their right values: 5.65 was cut, 4.15 and 4.85 were rounded again.
MISPRINTS = {
    'moganet_xt_256x192': ('5.7', '1.8'),
    'moganet_xt_384x288': ('5.7', '4.1'),
    'moganet_t_384x288': ('8.1', '4.8'),
}
JOINTS, WIDTH = 17, 256


def config(name: str) -> Config:
    return load_config(CHECKOUT / f'configs/pose/{name}.py')


def head_macs(channels: int, height: int, width: int) -> int:
    """mmcv's count of three deconvolutions, each with a norm (2 per element) and a ReLU (1), and one convolution."""
    total = 0
    for i in range(3):
        pixels = height * width // 4 ** (5 - i)  # cells that a deconvolution reads; it writes four times as many
        total += pixels * 16 * channels * WIDTH + 4 * pixels * 3 * WIDTH
        channels = WIDTH
    return total + height * width // 16 * (WIDTH * JOINTS + JOINTS)


@for_each(map(tuple, ROWS))
def test_count_gives_the_printed_digits(name, millions, gmacs, parameters, flops, count_once):
    counted = count_once('pose')(config(name))
    height, width = map(int, name.rsplit('_', 1)[1].split('x'))
    assert (counted.shape, counted.counter) == ((height, width), 'mmcv')
    assert counted.parameters / 1e6 == pytest.approx(float(millions), abs=0.0051)
    assert counted.macs / 1e9 == pytest.approx(float(gmacs), rel=1e-3)
    printed = MISPRINTS.get(name, (parameters, flops))
    for own, text in zip((counted.parameters / 1e6, counted.macs / 1e9), printed, strict=True):
        assert f'{own:.{len(text.partition(".")[2])}f}' == text


def test_metafile_holds_the_published_counts():
    found = {row.name: (row.numbers['Parameters'].text, row.numbers['FLOPs'].text) for row in rows('pose')}
    assert found == {name: (f'{parameters} M', f'{flops} G') for name, _, _, parameters, flops in ROWS}


def test_metafile_is_a_model_index_that_openmmlab_reads():
    index = load(str(CHECKOUT / 'configs/pose/metafile.yml'))
    index.build_models_with_collections()
    assert [model.name for model in index.models] == [row[0] for row in ROWS]
    base = next(model for model in index.models if model.name == 'moganet_b_384x288')
    assert [(result.task, result.metrics) for result in base.results] == [
        ('Body 2D Keypoint', {'AP': 77.3, 'AP50': 91.4, 'AP75': 84.0, 'AR': 82.2, 'AR_M': 77.9, 'AR_L': 88.5})
    ]
    assert not [error for model in index.models for error in model.check_errors]


def test_head_costs_its_layers():
    cfg, shape = config('moganet_s_256x192'), (128, 96)
    whole = count(cfg, shape)
    # Each joint costs a kernel, its bias, and both once per cell of the heatmap.
    cfg.model.head.out_channels = JOINTS + 1
    more = count(cfg, shape)
    assert more.parameters - whole.parameters == WIDTH + 1
    assert more.macs - whole.macs == 32 * 24 * (WIDTH + 1)
    cfg.model.head.out_channels = JOINTS
    # Without deconvolutions, the map of stage 4 goes into the convolution.
    cfg.model.head.update(deconv_out_channels=None, deconv_kernel_sizes=None)
    bare = count(cfg, shape)
    norms = 3 * 2 * WIDTH
    deconvolutions = 16 * WIDTH * (512 + 2 * WIDTH) + norms
    assert whole.parameters - bare.parameters == deconvolutions + JOINTS * (WIDTH - 512)
    assert whole.macs - bare.macs == head_macs(512, *shape) - 4 * 3 * JOINTS * (512 + 1)


def test_parameters_are_those_of_backbone_and_head():
    counted = count(config('moganet_xt_256x192'))
    head = 16 * WIDTH * (192 + 2 * WIDTH) + 3 * 2 * WIDTH + WIDTH * JOINTS + JOINTS
    assert (counted.backbone_parameters, counted.parameters) == (2_763_066, 2_763_066 + head)


def test_count_needs_no_weights_and_repeats():
    cfg = config('moganet_xt_256x192')
    before = cfg.pretty_text
    first = count(cfg, (64, 96))
    torch.manual_seed(1)
    assert count(cfg, (64, 96)) == first
    assert cfg.pretty_text == before
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert count(cfg, (64, 96)) == first


def test_counters_differ_by_biases_and_activations():
    cfg, shape = config('moganet_xt_256x192'), (64, 96)
    with DefaultScope.overwrite_default_scope('mmpose'), torch.device('meta'):
        model = MODELS.build(cfg.model).eval()
        extra = 0

        def add(module, _, output):
            nonlocal extra
            extra += output.numel()

        for module in model.modules():
            if isinstance(module, nn.ReLU | nn.Conv2d):
                module.register_forward_hook(add)
        with torch.no_grad():
            model(torch.zeros(1, 3, *shape), None)
    assert count(cfg, shape).macs - count(cfg, shape, 'fvcore').macs == extra


def test_default_shape_is_height_and_width_of_the_test():
    assert default_shape(config('moganet_b_384x288')) == (384, 288)
    assert default_shape(Config(dict(model={}))) == (256, 192)


def test_count_names_the_counters_it_knows():
    with pytest.raises(ValueError, match="counter='thop': expected one of mmcv, fvcore"):
        count(config('moganet_xt_256x192'), counter='thop')


def test_get_flops_counts_a_pose_estimator_by_both_counters(capsys):
    assert run_tool('get_flops', CHECKOUT / 'configs/pose/moganet_xt_256x192.py', '--shape', 64, 96) == 0
    out = capsys.readouterr().out
    assert 'one image of 64x96' in out
    assert 'parameters  5,652,555 (backbone 2,763,066)' in out
    assert [line.split()[0] for line in out.splitlines() if 'GMACs' in line] == ['mmcv', 'fvcore']
