"""Parameters and multiply-adds of the six sizes against the published figures."""

import pytest
import torch
from mmengine.config import Config
from modelindex.load_model_index import load

from helpers.cases import for_each
from mogacls.complexity import count, default_shape, size_config
from moganet.paper.metafile import CHECKOUT, rows

# Parameters with a head of 1,000 classes, and of the backbone, computed layer by layer.
PARAMETERS = {
    'xtiny': (2_956_066, 2_763_066),
    'tiny': (5_197_332, 4_940_332),
    'small': (25_335_675, 24_822_675),
    'base': (43_720_475, 43_207_475),
    'large': (82_480_978, 81_839_978),
    'xlarge': (180_991_924, 180_030_924),
}
# 1e9 multiply-adds at 224, 256 and 384 pixels, in the convention of mmcv's counter.
GMACS = {
    'xtiny': (0.799, 1.044, 2.35),
    'tiny': (1.103, 1.440, 3.24),
    'small': (4.968, 6.489, 14.60),
    'base': (9.933, 12.97, 29.19),
    'large': (15.92, 20.79, 46.78),
    'xlarge': (34.55, 45.13, 101.5),
}
# As printed in the paper, by pixels; XL's 34.5 at 224 pixels is 34.55 truncated.
PRINTED = {
    'xtiny': {224: '0.80'},
    'tiny': {224: '1.10'},
    'small': {224: '4.97'},
    'base': {224: '9.93'},
    'large': {224: '15.9'},
    'xlarge': {384: '102'},
}
# fvcore's count leaves out the biases of convolutions.
GMACS_FVCORE = {'xtiny': 0.787, 'tiny': 1.088, 'small': 4.94, 'base': 9.88}


@for_each(PARAMETERS)
def test_count_gives_the_parameters_and_the_multiply_adds_at_each_input(arch):
    cfg = size_config(arch)
    counts = {224: count(cfg)} | {side: count(cfg, (side, side)) for side in (256, 384)}
    for counted in counts.values():
        assert (counted.parameters, counted.backbone_parameters) == PARAMETERS[arch]
    assert [counted.shape for counted in counts.values()] == [(side, side) for side in counts]
    assert [counted.macs / 1e9 for counted in counts.values()] == pytest.approx(GMACS[arch], rel=5e-3)
    for side, printed in PRINTED[arch].items():
        decimals = len(printed.partition('.')[2])
        assert f'{counts[side].macs / 1e9:.{decimals}f}' == printed, side


@pytest.mark.parametrize('arch', GMACS_FVCORE)
def test_count_by_fvcore_gives_its_own_figure(arch):
    counted = count(size_config(arch), counter='fvcore')
    assert counted.counter == 'fvcore'
    assert counted.macs == pytest.approx(GMACS_FVCORE[arch] * 1e9, rel=2e-3)


def test_counters_differ_by_the_biases_of_the_convolutions():
    cfg = size_config('xtiny')
    biases = 0

    def add(module, _, output):
        nonlocal biases
        biases += output.numel()

    from mmpretrain.registry import MODELS

    model = MODELS.build(cfg.model).eval()
    for module in model.modules():
        if isinstance(module, torch.nn.Conv2d):
            module.register_forward_hook(add)
    with torch.no_grad():
        model(torch.zeros(1, 3, 64, 96))
    shape = (64, 96)
    assert count(cfg, shape).macs - count(cfg, shape, 'fvcore').macs == biases


def test_count_follows_height_and_width_and_input_channels():
    cfg = size_config('xtiny')
    cfg.model.backbone.in_channels = 1
    grey, colour = count(cfg, (64, 96)), count(size_config('xtiny'), (64, 96))
    # The stem's first convolution: 16 outputs of 3x3, at half the resolution.
    assert colour.parameters - grey.parameters == 2 * 9 * 16
    assert colour.macs - grey.macs == 2 * 9 * 16 * 32 * 48


def test_count_leaves_the_config_as_it_is():
    cfg = size_config('xtiny')
    cfg.model.train_cfg = dict(augments=[dict(type='Mixup', alpha=0.1)])
    before = cfg.pretty_text
    count(cfg, (32, 32))
    assert cfg.pretty_text == before


def test_count_names_the_counters_it_knows():
    with pytest.raises(ValueError, match="counter='thop': expected one of mmcv, fvcore"):
        count(size_config('xtiny'), counter='thop')


def test_size_config_names_the_sizes_it_knows():
    with pytest.raises(ValueError, match="'huge' is no size of MogaNet: expected one of xtiny, tiny"):
        size_config('huge')


@pytest.mark.parametrize(
    ('pipeline', 'shape'),
    [
        ([dict(type='ResizeEdge', scale=284), dict(type='CenterCrop', crop_size=256)], (256, 256)),
        ([dict(type='CenterCrop', crop_size=(192, 128))], (192, 128)),
        ([dict(type='LoadImageFromFile')], (224, 224)),
    ],
)
def test_default_shape_is_the_test_crop(pipeline, shape):
    assert default_shape(Config(dict(test_dataloader=dict(dataset=dict(pipeline=pipeline))))) == shape


def test_default_shape_without_a_test_is_that_of_the_paper():
    assert default_shape(Config(dict(test_dataloader=None))) == (224, 224)


def test_metafile_is_a_model_index_that_openmmlab_reads():
    index = load(str(CHECKOUT / 'configs/cls/metafile.yml'))
    index.build_models_with_collections()
    assert [model.name for model in index.models] == [row.name for row in rows('cls')]
    small = next(model for model in index.models if model.name == 'moganet_s')
    assert small.results[0].metrics == {'Top 1 Accuracy': 83.4, 'Top 5 Accuracy': 96.9}
    assert small.full_model.paper['URL'] == 'https://arxiv.org/abs/2211.03295'
    assert not [error for model in index.models for error in model.check_errors]


def test_count_does_not_depend_on_the_scope_of_what_ran_before():
    from mmengine.registry import DefaultScope

    cfg = size_config('xtiny')
    with DefaultScope.overwrite_default_scope('mmdet'):
        assert count(cfg, (64, 64)).parameters == 2_956_066
