"""Parameters and multiply-adds of the detectors against the published figures and closed forms."""

import pytest
import torch
from mmdet.registry import MODELS
from mmengine.config import Config
from mmengine.registry import DefaultScope
from modelindex.load_model_index import load
from torch import nn

from helpers.cases import for_each
from helpers.tool_runs import run_tool
from mogadet.complexity import Counted, count, default_shape
from moganet.paper.metafile import CHECKOUT, rows
from moganet.run.config import load_config

# Millions of parameters, computed layer by layer; then parameters and multiply-adds as the released README prints
# them, XL's as the paper does.
PUBLISHED = """
retinanet_moganet_xt                  12.12  12.1  167.2
retinanet_moganet_t                   14.47  14.4  173.4
retinanet_moganet_s                   35.07  35.1  253.0
retinanet_moganet_b                   53.47  53.5  354.5
retinanet_moganet_l                   92.43  92.4  476.8
mask_rcnn_moganet_xt                  22.77  22.8  185.4
mask_rcnn_moganet_t                   24.97  25.0  191.7
mask_rcnn_moganet_s                   44.99  45.0  271.6
mask_rcnn_moganet_b                   63.38  63.4  373.1
mask_rcnn_moganet_l                   102.05 102.1 495.3
mask_rcnn_moganet_t_ms3x              24.97  25.0  191.7
mask_rcnn_moganet_s_ms3x              44.99  45.0  271.6
mask_rcnn_moganet_b_ms3x              63.38  63.4  373.1
mask_rcnn_moganet_l_ms3x              102.05 63.4  373.1
cascade_mask_rcnn_moganet_s_ms3x      77.92  77.9  405.4
cascade_mask_rcnn_moganet_s_giou_ms3x 82.83  82.8  750.2
cascade_mask_rcnn_moganet_b_giou_ms3x 101.22 101.2 851.6
cascade_mask_rcnn_moganet_l_giou_ms3x 139.88 139.9 973.8
cascade_mask_rcnn_moganet_xl_giou_ms3x 238.21 238 1355
"""
ROWS = [line.split() for line in PUBLISHED.split('\n') if line]
# Misprints and right values: 14.47 and 173.46 were truncated, 102.05 was rounded again, L repeats B.
MISPRINTS = {
    'retinanet_moganet_t': ('14.5', '173.5'),
    'mask_rcnn_moganet_l': ('102.0', '495.3'),
    'mask_rcnn_moganet_l_ms3x': ('102.0', '495.3'),
}
NUM_CLASSES = 80


def config(name: str) -> Config:
    return load_config(CHECKOUT / f'configs/det/{name}.py')


@for_each(map(tuple, ROWS))
def test_count_gives_the_printed_digits(name, millions, parameters, gmacs, count_once):
    counted = count_once('det')(config(name))
    assert (counted.shape, counted.counter) == ((1280, 800), 'mmcv')
    # The last digit of the computed millions may be rounded either way.
    assert counted.parameters / 1e6 == pytest.approx(float(millions), abs=0.0051)
    printed = MISPRINTS.get(name, (parameters, gmacs))
    for own, text in zip((counted.parameters / 1e6, counted.macs / 1e9), printed, strict=True):
        assert f'{own:.{len(text.partition(".")[2])}f}' == text


def test_metafile_holds_the_published_counts():
    found = {row.name: (row.numbers['Parameters'].text, row.numbers['FLOPs'].text) for row in rows('det')}
    assert found == {name: (f'{parameters} M', f'{gmacs} G') for name, _, parameters, gmacs in ROWS}
    assert {row.shape for row in rows('det')} == {(1280, 800)}


def test_metafile_is_a_model_index_that_openmmlab_reads():
    index = load(str(CHECKOUT / 'configs/det/metafile.yml'))
    index.build_models_with_collections()
    assert [model.name for model in index.models] == [row[0] for row in ROWS]
    small = next(model for model in index.models if model.name == 'mask_rcnn_moganet_s')
    assert [(result.task, result.metrics) for result in small.results] == [
        ('Object Detection', {'box AP': 46.6, 'box AP50': 68.0, 'box AP75': 51.3}),
        ('Instance Segmentation', {'mask AP': 42.2, 'mask AP50': 65.4, 'mask AP75': 45.5}),
    ]
    assert not [error for model in index.models for error in model.check_errors]


def test_mask_head_costs_its_layers_for_100_boxes():
    with_masks, boxes = count(config('mask_rcnn_moganet_t')), count(config('faster_rcnn_moganet_t'))
    width, small, large = 256, 14 * 14, 28 * 28
    convolutions = 4 * (width * width * 9 + width)
    doubling = width * width * 4 + width
    logits = width * NUM_CLASSES + NUM_CLASSES
    assert with_masks.parameters - boxes.parameters == convolutions + doubling + logits
    # Each convolution and the doubling are followed by a ReLU, one operation per element.
    macs = small * (convolutions + 4 * width) + small * (doubling - width) + large * (2 * width + logits)
    assert with_masks.macs - boxes.macs == 100 * macs


def test_giou_heads_cost_their_layers_for_1000_boxes_and_their_norms_nothing():
    plain, giou = (
        count(config('cascade_mask_rcnn_moganet_s_ms3x')),
        count(config('cascade_mask_rcnn_moganet_s_giou_ms3x')),
    )
    width, pixels, hidden = 256, 7 * 7, 1024
    # Second linear layer and class-agnostic boxes of the one, four convolutions with ReLU and boxes per class of the
    # other. mmcv's counter does not count SyncBN.
    removed = hidden * hidden + hidden + hidden * 4
    added = 4 * pixels * (width * width * 9 + width) + hidden * 4 * NUM_CLASSES
    assert giou.macs - plain.macs == 3 * 1000 * (added - removed)


def test_count_needs_no_weights_and_repeats():
    cfg = config('mask_rcnn_moganet_xt')
    before = cfg.pretty_text
    first = count(cfg, (320, 256))
    torch.manual_seed(1)
    assert count(cfg, (320, 256)) == first
    assert cfg.pretty_text == before
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert count(cfg, (320, 256)) == first


def test_counters_differ_by_biases_activations_and_enlarged_maps():
    cfg, shape = config('mask_rcnn_moganet_xt'), (64, 96)
    with DefaultScope.overwrite_default_scope('mmdet'), torch.device('meta'):
        model = Counted(MODELS.build(cfg.model)).eval()
        extra = 0

        def add(module, _, output):
            nonlocal extra
            extra += output.numel()

        for module in model.modules():
            if isinstance(module, nn.ReLU | nn.Conv2d):
                module.register_forward_hook(add)
        with torch.no_grad():
            model(torch.zeros(1, 3, *shape))
    deconvolution = 100 * 28 * 28 * 256  # its biases
    enlarged = 256 * (16 * 24 + 8 * 12 + 4 * 6)  # maps of the FPN's top-down path
    assert count(cfg, shape).macs - count(cfg, shape, 'fvcore').macs == extra + deconvolution - enlarged


def test_default_shape_is_that_of_the_paper():
    assert default_shape(config('retinanet_moganet_xt')) == (1280, 800)


def test_count_follows_the_shape_it_is_given():
    cfg = config('retinanet_moganet_xt')
    counted = count(cfg, (640, 800))
    assert counted.shape == (640, 800)
    assert counted.macs == pytest.approx(count(cfg).macs / 2, rel=2e-3)


def test_count_names_the_counters_it_knows():
    with pytest.raises(ValueError, match="counter='thop': expected one of mmcv, fvcore"):
        count(config('retinanet_moganet_xt'), counter='thop')


def test_detector_of_another_kind_is_refused():
    with pytest.raises(ValueError, match='Linear cannot be counted: expected a detector with rpn_head and roi_head'):
        Counted(nn.Linear(2, 2))


def test_get_flops_counts_a_detector_by_both_counters(capsys):
    assert run_tool('get_flops', CHECKOUT / 'configs/det/retinanet_moganet_xt.py', '--shape', 128, 64) == 0
    out = capsys.readouterr().out
    assert 'one image of 128x64' in out
    tower = 256 * 256 * 9 + 256
    fpn = (64 + 96 + 192) * 256 + 3 * 256 + 3 * tower + 192 * 256 * 9 + 256 + tower
    head = 8 * tower + (256 * 9 + 1) * 9 * (NUM_CLASSES + 4)
    assert f'parameters  {2_763_066 + fpn + head:,} (backbone 2,763,066)' in out
    assert [line.split()[0] for line in out.splitlines() if 'GMACs' in line] == ['mmcv', 'fvcore']
