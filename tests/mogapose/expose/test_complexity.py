"""Parameters and multiply-adds of ExPose's networks against the published table and closed forms."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from modelindex.load_model_index import load

from helpers.cases import for_each
from helpers.tool_runs import run_tool
from moganet.paper.metafile import CHECKOUT, rows
from moganet.run.config import load_config
from mogapose.expose.complexity import count, default_shape

# Parameters, exactly; 1e9 multiply-adds by mmcv's counter and by fvcore's; both as Table A12 prints them.
PUBLISHED = """
hand_moganet_t 6476441  1.107 1.09 6.5  1.1
hand_moganet_s 26620928 4.973 4.95 26.6 5.0
hand_resnet18  12974765 1.827 1.82 13.0 1.8
face_moganet_t 6591185  1.445 1.43 6.6  1.5
face_moganet_s 26735672 6.495 6.46 26.7 6.5
face_resnet18  13089509 2.385 2.38 13.1 2.4
"""
ROWS = [line.split() for line in PUBLISHED.split('\n') if line]
NAMES = [row[0] for row in ROWS]
MISPRINTS = {'face_moganet_t': '1.4'}


def config(name: str) -> Config:
    return load_config(CHECKOUT / f'configs/expose/{name}.py')


@for_each(map(tuple, ROWS))
def test_count_gives_the_printed_digits(name, parameters, gmacs, fvcore, millions, flops, count_once):
    counted = count_once('expose')(config(name))
    side = 224 if name.startswith('hand') else 256
    assert (counted.shape, counted.counter) == ((side, side), 'mmcv')
    assert counted.parameters == int(parameters)
    assert f'{counted.parameters / 1e6:.1f}' == millions
    assert counted.macs / 1e9 == pytest.approx(float(gmacs), abs=6e-4)
    assert f'{counted.macs / 1e9:.1f}' == MISPRINTS.get(name, flops)


@pytest.mark.parametrize(('name', 'fvcore'), [(row[0], row[3]) for row in ROWS if row[0].endswith('moganet_t')])
def test_fvcore_counts_without_biases(name, fvcore):
    assert count(config(name), counter='fvcore').macs / 1e9 == pytest.approx(float(fvcore), abs=6e-3)


def test_metafile_holds_the_published_rows():
    found = {row.name: (row.numbers['Parameters'].text, row.numbers['FLOPs'].text) for row in rows('expose')}
    assert found == {name: (f'{millions} M', f'{flops} G') for name, *_, millions, flops in ROWS}
    metrics = {
        row.name: {name: number.value for name, number in row.numbers.items() if name in row.metrics}
        for row in rows('expose')
    }
    assert metrics == {
        'hand_moganet_t': {'PA-MPJPE': 6.82},
        'hand_moganet_s': {'PA-MPJPE': 6.08},
        'hand_resnet18': {'PA-MPJPE': 7.51},
        'face_moganet_t': {'3DRMSE': 2.36},
        'face_moganet_s': {'3DRMSE': 2.24},
        'face_resnet18': {'3DRMSE': 2.4},
    }


def test_metafile_is_a_model_index_that_openmmlab_reads():
    index = load(str(CHECKOUT / 'configs/expose/metafile.yml'))
    index.build_models_with_collections()
    assert [model.name for model in index.models] == NAMES
    assert not [error for model in index.models for error in model.check_errors]


def test_paper_table_agrees(capsys, tables_count_once):
    assert run_tool('paper_tables', '--task', 'expose') == 0
    assert 'FLOPs 1.5 G (Table A12) should be 1.4 G' in capsys.readouterr().out


@pytest.mark.parametrize(('name', 'channels', 'size'), [('hand_moganet_t', 256, 109), ('face_moganet_t', 256, 165)])
def test_head_is_counted_three_times_over(name, channels, size):
    cfg, shape = config(name), (64, 64)
    whole = count(cfg, shape)
    head = (channels + size) * 1024 + 1024**2 + 1024 * size
    assert whole.parameters - whole.backbone_parameters == head + 2 * 1024 + size
    # With two layers of 8 the head is small and can be counted by hand. Each ReLU counts 1 per output.
    cfg.model.head.regressor_cfg.layers = (8, 8)
    small = (channels + size) * 8 + 64 + 8 * size
    assert whole.macs - count(cfg, shape).macs == 3 * (head - small + 2 * (1024 - 8))


def test_count_needs_neither_weights_nor_body_models_and_repeats():
    cfg = config('hand_moganet_t')
    cfg.model.body_model.path = 'nowhere/MANO_RIGHT.pkl'
    before = cfg.pretty_text
    first = count(cfg, (64, 64))
    torch.manual_seed(1)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        assert count(cfg, (64, 64)) == first
    assert cfg.pretty_text == before


def test_default_shape_is_that_of_the_test_crops():
    cfg = config('hand_moganet_t')
    assert default_shape(cfg) == (224, 224)
    cfg.test_dataloader = None
    assert default_shape(cfg) == (224, 224)
    assert default_shape(Config(dict(model=dict(head=dict(type='ExPoseFaceHead'))))) == (256, 256)


def test_count_names_the_counters_it_knows():
    with pytest.raises(ValueError, match="counter='thop': expected one of mmcv, fvcore"):
        count(config('hand_moganet_t'), counter='thop')


def test_get_flops_counts_a_crop_by_both_counters(capsys):
    assert run_tool('get_flops', CHECKOUT / 'configs/expose/hand_moganet_t.py', '--shape', 64, 64) == 0
    out = capsys.readouterr().out
    assert 'one image of 64x64' in out
    assert 'parameters  6,476,441 (backbone 4,940,332)' in out
    assert [line.split()[0] for line in out.splitlines() if 'GMACs' in line] == ['mmcv', 'fvcore']
