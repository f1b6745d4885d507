"""Verdicts on printed numbers, and the tables that show them."""

from pathlib import Path

import pytest

from helpers.cases import for_each
from moganet.paper.compare import MISMATCH, MISPRINT, NOT_MEASURED, SAME, compare
from moganet.paper.complexity import Complexity
from moganet.paper.metafile import Metric, Misprint, Printed, Row
from moganet.paper.tables import markdown, report

PARAMETERS = Misprint('Parameters', 'README', Printed('2.97 M'), Printed('2.956 M'), 'counted')


def make_row(misprints=(), parameters='2.97 M', flops='0.80 G'):
    numbers = {'Parameters': Printed(parameters), 'FLOPs': Printed(flops), 'box AP': Printed('40.7')}
    return Row(
        name='xt',
        config='configs/cls/xt.py',
        sources=('README', 'Table A1'),
        shape=(224, 192),
        numbers=numbers,
        metrics={'box AP': Metric('coco/bbox_mAP', tolerance=0.2, scale=100)},
        weights='https://example.org/xt.pth',
        weights_name='xtiny_1k',
        misprints=tuple(misprints),
    )


def verdicts(row, parameters=2_956_066, macs=799_600_000, results=None):
    counted = Complexity(parameters, parameters, macs, row.shape, 'mmcv')
    return {c.field: c.verdict for c in compare(row, counted, results or {})}


def test_compare_accepts_a_count_that_rounds_to_the_printed_digits():
    assert verdicts(make_row(parameters='2.96 M')) == {'Parameters': SAME, 'FLOPs': SAME, 'box AP': NOT_MEASURED}


def test_compare_marks_a_count_that_differs():
    assert verdicts(make_row(flops='0.81 G'))['FLOPs'] == MISMATCH


def test_compare_lets_a_misprint_explain_a_count():
    assert verdicts(make_row([PARAMETERS]))['Parameters'] == MISPRINT


@pytest.mark.parametrize(
    ('parameters', 'misprint'),
    [
        ('2.97 M', Misprint('Parameters', 'README', Printed('2.97 M'), Printed('3.1 M'), 'right value is wrong')),
        ('2.97 M', Misprint('Parameters', 'README', Printed('2.98 M'), Printed('2.956 M'), 'of another number')),
        ('2.97 M', Misprint('FLOPs', 'README', Printed('2.97 M'), Printed('0.8 G'), 'of another field')),
        ('2.96 M', Misprint('Parameters', 'README', Printed('2.96 M'), Printed('2.956 M'), 'no misprint at all')),
    ],
)
def test_compare_lets_no_other_misprint_explain_it(parameters, misprint):
    assert verdicts(make_row([misprint], parameters))['Parameters'] == MISMATCH


@for_each([(0.407, SAME), (0.409, SAME), (0.405, SAME), (0.4095, MISMATCH), (0.4, MISMATCH)])
def test_compare_scales_a_metric_and_holds_it_to_its_tolerance(logged, verdict):
    assert verdicts(make_row(), results={'coco/bbox_mAP': logged})['box AP'] == verdict


def test_compare_ignores_metrics_the_table_does_not_have():
    assert set(verdicts(make_row(), results={'coco/segm_mAP': 0.1})) == {'Parameters', 'FLOPs', 'box AP'}


def test_report_keeps_paper_and_own_apart_and_marks_misprints_and_mismatches():
    counted = Complexity(2_956_066, 0, 900_000_000, (224, 192), 'mmcv')
    text = report('cls', [compare(make_row([PARAMETERS]), counted, {'coco/bbox_mAP': 0.40712})])
    line = next(line for line in text.splitlines() if line.startswith('xt'))
    assert line.split() == [
        'xt',
        '224x192',
        '2.97',
        'M',
        '2.956',
        'M',
        '(1)',
        '0.80',
        'G',
        '0.900',
        'G',
        MISMATCH,
        '40.7',
        '40.71',
    ]
    assert '(1) Parameters 2.97 M (README) should be 2.956 M: counted' in text
    assert f'{MISMATCH} xt: FLOPs is 0.80 G in README, 0.900 G here' in text


def test_markdown_links_configs_from_the_folder_of_the_file():
    counted = Complexity(2_956_066, 0, 799_600_000, (224, 192), 'mmcv')
    comparisons = [compare(make_row([PARAMETERS]), counted, {'coco/bbox_mAP': 0.1})]
    text = markdown(comparisons, Path('/p/configs/cls'), Path('/p'))
    assert text.splitlines()[2] == (
        '| [xt](xt.py) | 224x192 | 2.97 M <sup>1</sup> | 2.956 M | 0.80 G | 0.800 G | 40.7 | README, Table A1 '
        '| [xtiny_1k](https://example.org/xt.pth) |'
    )
    assert '[xt](configs/cls/xt.py)' in markdown(comparisons, Path('/p'), Path('/p'))
