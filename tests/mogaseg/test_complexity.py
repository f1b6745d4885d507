"""Parameters and multiply-adds of the segmentors against the published figures and closed forms."""

import copy

import pytest
import torch
from mmcv.cnn import get_model_complexity_info
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS
from modelindex.load_model_index import load
from torch import nn

from helpers.cases import for_each
from helpers.tool_runs import run_tool
from moganet.paper.metafile import CHECKOUT, rows
from moganet.run.config import load_config
from mogaseg.complexity import DEFAULT_SHAPE, Counted, count, default_shape

# Parameters and multiply-adds as the released README prints them, XL's as the paper does.
PUBLISHED = """
fpn_moganet_xt         6.9   101.4
fpn_moganet_t          9.1   107.8
fpn_moganet_s          29.1  189.7
fpn_moganet_b          47.5  293.6
fpn_moganet_l          86.2  418.7
upernet_moganet_xt     30.4  855.7
upernet_moganet_t      33.1  862.4
upernet_moganet_s      55.3  946.4
upernet_moganet_b      73.7  1050.4
upernet_moganet_l      113.2 1176.1
upernet_moganet_xl_640 214   2451
"""
ROWS = [line.split() for line in PUBLISHED.split('\n') if line]
MISPRINTS = {'fpn_moganet_l': ('86.15', '418.7')}  # 86.15 was rounded again
# Channels of the four stages, and parameters of the backbone, computed layer by layer.
WIDTHS = dict(xt=(32, 64, 96, 192), s=(64, 128, 320, 512), xl_640=(96, 192, 480, 960))
BACKBONES = dict(xt=2_763_066, s=24_822_675, xl_640=180_030_924)
CLASSES = 150


def config(name: str) -> Config:
    return load_config(CHECKOUT / f'configs/seg/{name}.py')


def conv(inputs: int, outputs: int, side: int, norm: bool = True) -> int:
    """Return the parameters of a convolution with a norm and no bias, or with a bias and no norm."""
    return inputs * outputs * side**2 + outputs * (2 if norm else 1)


@for_each(map(tuple, ROWS))
def test_count_gives_the_printed_digits(name, parameters, gmacs, count_once):
    counted = count_once('seg')(config(name))
    assert (counted.shape, counted.counter) == ((640, 2560) if name.endswith('640') else (512, 2048), 'mmcv')
    printed = MISPRINTS.get(name, (parameters, gmacs))
    for own, text in zip((counted.parameters / 1e6, counted.macs / 1e9), printed, strict=True):
        assert f'{own:.{len(text.partition(".")[2])}f}' == text


def test_metafile_holds_the_published_counts():
    found = {row.name: (row.numbers['Parameters'].text, row.numbers['FLOPs'].text) for row in rows('seg')}
    assert found == {name: (f'{parameters} M', f'{gmacs} G') for name, parameters, gmacs in ROWS}
    assert {row.name: row.shape for row in rows('seg')} == {name: default_shape(config(name)) for name, _, _ in ROWS}


def test_metafile_is_a_model_index_that_openmmlab_reads():
    index = load(str(CHECKOUT / 'configs/seg/metafile.yml'))
    index.build_models_with_collections()
    assert [model.name for model in index.models] == [row[0] for row in ROWS]
    small = next(model for model in index.models if model.name == 'upernet_moganet_s')
    assert [(result.task, result.metrics) for result in small.results] == [
        ('Semantic Segmentation', {'mIoU': 49.2, 'mAcc': 61.6})
    ]
    assert not [error for model in index.models for error in model.check_errors]


@pytest.mark.parametrize('size', WIDTHS)
def test_parameters_of_upernet_have_the_auxiliary_head_among_them(size):
    counted, widths = count(config(f'upernet_moganet_{size}'), (64, 64)), WIDTHS[size]
    pooled = 4 * conv(widths[3], 512, 1) + conv(widths[3] + 4 * 512, 512, 3)
    laterals = sum(conv(width, 512, 1) for width in widths[:3])
    smooth = 3 * conv(512, 512, 3) + conv(4 * 512, 512, 3)
    auxiliary = conv(widths[2], 256, 3) + conv(256, CLASSES, 1, norm=False)
    head = pooled + laterals + smooth + conv(512, CLASSES, 1, norm=False)
    assert counted.backbone_parameters == BACKBONES[size]
    assert counted.parameters == BACKBONES[size] + head + auxiliary


@pytest.mark.parametrize('size', ['xt', 's'])
def test_parameters_of_semantic_fpn(size):
    counted = count(config(f'fpn_moganet_{size}'), (64, 64))
    neck = sum(conv(width, 256, 1, norm=False) for width in WIDTHS[size]) + 4 * conv(256, 256, 3, norm=False)
    # Each map has one convolution per doubling up to stride 4, at least one.
    head = 4 * conv(256, 128, 3) + 3 * conv(128, 128, 3) + conv(128, CLASSES, 1, norm=False)
    assert counted.parameters == BACKBONES[size] + neck + head


def test_auxiliary_head_costs_nothing():
    cfg = config('upernet_moganet_xt')
    without = copy.deepcopy(cfg)
    without.model.auxiliary_head = None
    counted, decoded = count(cfg, (64, 64)), count(without, (64, 64))
    assert counted.macs == decoded.macs
    assert counted.parameters > decoded.parameters


def backbone_macs(cfg: Config, shape: tuple[int, int]) -> int:
    with DefaultScope.overwrite_default_scope('mmseg'), torch.device('meta'):
        backbone = MODELS.build(cfg.model.backbone).eval()
        return get_model_complexity_info(backbone, (3, *shape), print_per_layer_stat=False, as_strings=False)[0]


def test_semantic_fpn_costs_its_layers_and_its_norms_nothing():
    shape, widths, cfg = (512, 2048), WIDTHS['xt'], config('fpn_moganet_xt')
    pixels = [shape[0] * shape[1] // stride**2 for stride in (4, 8, 16, 32)]
    neck = sum(n * (width * 256 + 256 + 256 * 256 * 9 + 256) for n, width in zip(pixels, widths, strict=True))
    # No biases in the head, but a ReLU after each of its convolutions, one operation per element.
    first, later = 256 * 128 * 9 + 128, 128 * 128 * 9 + 128
    # Map 2 is doubled and convolved once more, map 3 twice.
    head = sum(pixels) * first + (pixels[1] + pixels[2] + pixels[1]) * later + pixels[0] * (128 * CLASSES + CLASSES)
    assert count(cfg).macs - backbone_macs(cfg, shape) == neck + head


def test_counters_differ_by_biases_activations_norms_of_the_heads_and_enlarged_maps():
    cfg, shape = config('upernet_moganet_xt'), (64, 96)
    mmcv_more = fvcore_more = 0

    def add(module, _, output):
        nonlocal mmcv_more, fvcore_more
        if isinstance(module, nn.ReLU) or (isinstance(module, nn.Conv2d) and module.bias is not None):
            mmcv_more += output.numel()
        elif isinstance(module, nn.SyncBatchNorm):
            fvcore_more += 2 * output.numel()

    with DefaultScope.overwrite_default_scope('mmseg'), torch.device('meta'):
        model = Counted(MODELS.build(copy.deepcopy(cfg.model))).eval()
        for module in model.modules():
            module.register_forward_hook(add)
        with torch.no_grad():
            assert model(torch.zeros(1, 3, *shape)).shape == (1, CLASSES, *shape)
    fourth, eighth, sixteenth, last = (16 * 24, 8 * 12, 4 * 6, 2 * 3)
    # Upsampled: four pooled maps to stride 32; top-down to 16, 8, 4; three maps to 4; scores to the image.
    enlarged = 512 * (4 * last + sixteenth + eighth + fourth + 3 * fourth) + CLASSES * 64 * 96
    assert count(cfg, shape, 'fvcore').macs - count(cfg, shape).macs == fvcore_more + 4 * enlarged - mmcv_more


def test_count_needs_no_weights_and_repeats():
    cfg = config('fpn_moganet_xt')
    before = cfg.pretty_text
    first = count(cfg, (320, 256))
    torch.manual_seed(1)
    assert count(cfg, (320, 256)) == first
    assert cfg.pretty_text == before
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert count(cfg, (320, 256)) == first


def test_default_shape_is_that_of_the_test_pipeline():
    assert default_shape(config('fpn_moganet_xt')) == (512, 2048)
    assert default_shape(config('upernet_moganet_xl_640')) == (640, 2560)
    assert default_shape(Config(dict(model=dict()))) == DEFAULT_SHAPE == (512, 2048)


def test_count_names_the_counters_it_knows():
    with pytest.raises(ValueError, match="counter='thop': expected one of mmcv, fvcore"):
        count(config('fpn_moganet_xt'), counter='thop')


def test_model_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="Linear cannot be counted: expected one of mmseg's encoder-decoders"):
        Counted(nn.Linear(2, 2))


def test_get_flops_counts_a_segmentor_by_both_counters(capsys):
    assert run_tool('get_flops', CHECKOUT / 'configs/seg/fpn_moganet_xt.py', '--shape', 128, 64) == 0
    out = capsys.readouterr().out
    assert 'one image of 128x64' in out
    assert 'parameters  6,865,872 (backbone 2,763,066)' in out
    assert [line.split()[0] for line in out.splitlines() if 'GMACs' in line] == ['mmcv', 'fvcore']
