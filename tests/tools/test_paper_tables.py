"""paper_tables: exit code 1 exactly on what the metafile does not explain."""

import json
import runpy

import pytest

from moganet.errors import run_main
from moganet.paper.metafile import CHECKOUT

pytestmark = pytest.mark.usefixtures('tables_count_once')
main = runpy.run_path(str(CHECKOUT / 'tools/paper_tables.py'))['main']

CONFIG = """
default_scope = 'mmpretrain'
custom_imports = dict(imports=['mogacls'])
model = dict(
    type='ImageClassifier',
    backbone=dict(type='MogaNet', arch='xtiny'),
    neck=dict(type='GlobalAveragePooling'),
    head=dict(type='LinearClsHead', num_classes=1000, in_channels=192))
"""
METAFILE = """
Collections:
  - Name: MogaNet
    Metrics:
      Top 1 Accuracy: {Key: accuracy/top1, Tolerance: 0.2}
Models:
  - Name: moganet_xt
    In Collection: MogaNet
    Config: configs/cls/moganet_xt.py
    Source: [README]
    Metadata: {Parameters: 2.956 M, FLOPs: 0.80 G, Input Size: [224, 224]}
    Results: [{Task: Image Classification, Dataset: ImageNet-1k, Metrics: {Top 1 Accuracy: 76.5}}]
"""
MISPRINT = """
    Misprints: [{Field: Parameters, Source: README, Printed: 2.97 M, Right: 2.956 M, Reason: counted}]
"""
README = 'Before\n<!-- table:cls README -->\nold\n<!-- /table -->\nAfter\n'


@pytest.fixture
def checkout(tmp_path, monkeypatch):
    """A checkout with one row that is right, and the current folder in it."""
    folder = tmp_path / 'configs/cls'
    folder.mkdir(parents=True)
    (folder / 'moganet_xt.py').write_text(CONFIG)
    (folder / 'metafile.yml').write_text(METAFILE)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def change(checkout, old, new, more=''):
    path = checkout / 'configs/cls/metafile.yml'
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new) + more)


def tool(checkout, *argv):
    return run_main(main, ['--root', str(checkout), *argv])


def test_own_metafiles_are_right_or_explained(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # no work_dirs
    assert run_main(main, []) == 0
    out = capsys.readouterr().out
    assert 'MISMATCH' not in out
    assert '43.9 M (README and OpenMixup) should be 43.72 M' in out
    assert '180.8 M (README and Table A1) should be 180.99 M' in out


def test_right_row_passes(checkout, capsys):
    assert tool(checkout, '--task', 'cls') == 0
    assert 'MISMATCH' not in capsys.readouterr().out


@pytest.mark.parametrize(
    ('old', 'new', 'line'),
    [
        ('2.956 M', '2.97 M', 'MISMATCH moganet_xt: Parameters is 2.97 M in README, 2.956 M here'),
        ('0.80 G', '0.90 G', 'MISMATCH moganet_xt: FLOPs is 0.90 G in README, 0.800 G here'),
        ('[224, 224]', '[256, 256]', 'MISMATCH moganet_xt: FLOPs is 0.80 G in README, 1.044 G here'),
    ],
)
def test_wrong_row_is_marked_and_fails(checkout, capsys, old, new, line):
    change(checkout, old, new)
    assert tool(checkout) == 1
    out = capsys.readouterr().out
    assert line in out.splitlines()
    assert 'MISMATCH' in next(row for row in out.splitlines() if row.startswith('moganet_xt'))


def test_marked_misprint_passes_with_its_reason(checkout, capsys):
    change(checkout, '2.956 M', '2.97 M', MISPRINT)
    assert tool(checkout) == 0
    out = capsys.readouterr().out
    assert 'MISMATCH' not in out
    assert '(1) Parameters 2.97 M (README) should be 2.956 M: counted' in out


def test_misprint_that_is_none_fails(checkout, capsys):
    change(checkout, '2.956 M', '2.956 M', MISPRINT.replace('2.97', '2.956'))
    assert tool(checkout) == 1
    assert 'does not explain it' in capsys.readouterr().out


@pytest.mark.parametrize(('accuracy', 'code'), [(76.4, 0), (75.0, 1)])
@pytest.mark.parametrize('argv', [[], ['--results', 'elsewhere']])
def test_measured_metric_is_held_to_the_tolerance(checkout, capsys, accuracy, code, argv):
    run_folder = checkout / (argv[-1] if argv else 'work_dirs') / 'moganet_xt/20260101_000000'
    run_folder.mkdir(parents=True)
    (run_folder / '20260101_000000.json').write_text(json.dumps({'accuracy/top1': accuracy}))
    assert tool(checkout, *argv) == code
    row = next(line for line in capsys.readouterr().out.splitlines() if line.startswith('moganet_xt'))
    assert f'76.5            {accuracy:.4g}' in row


def test_markdown_prints_the_table_without_the_runs_of_this_machine(checkout, capsys):
    assert tool(checkout, '--markdown') == 0
    out = capsys.readouterr().out
    assert out.startswith('| Model | Input | Parameters, paper | Parameters, counted | FLOPs, paper |')
    assert '| [moganet_xt](configs/cls/moganet_xt.py) | 224x224 | 2.956 M | 2.956 M | 0.80 G | 0.800 G | 76.5 |' in out


def test_write_replaces_the_block_only(checkout):
    path = checkout / 'configs/cls/README.md'
    path.write_text(README)
    assert tool(checkout, '--write', str(path)) == 0
    text = path.read_text()
    assert text.startswith('Before\n<!-- table:cls README -->\n| Model |')
    assert text.endswith('|\n<!-- /table -->\nAfter\n')
    assert '[moganet_xt](moganet_xt.py)' in text
    assert 'old' not in text
    assert tool(checkout, '--write', str(path)) == 0
    assert path.read_text() == text


@pytest.mark.parametrize('marker', ['table:cls short', 'table:cls README short'])
def test_write_short_gives_the_counts_the_first_metric_and_the_weights(checkout, marker):
    path = checkout / 'README.md'
    path.write_text(README.replace('table:cls README', marker))
    assert tool(checkout, '--write', str(path)) == 0
    assert path.read_text().splitlines()[1:-1] == [
        f'<!-- {marker} -->',
        '| Model | Parameters | FLOPs | Top 1 Accuracy | Weights |',
        '| --- | :---: | :---: | :---: | --- |',
        '| [moganet_xt](configs/cls/moganet_xt.py) | 2.956 M | 0.800 G | 76.5 | not published |',
        '<!-- /table -->',
    ]


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('no table here', 'has no table: expected <!-- table:TASK -->'),
        (README.replace('README', 'Table A99'), "no row of cls has the Source 'Table A99'"),
        (README.replace('table:cls', 'table:det'), 'tasks with a metafile: cls'),
    ],
)
def test_write_says_what_is_wrong_and_leaves_the_file(checkout, capsys, text, message):
    path = checkout / 'README.md'
    path.write_text(text)
    assert tool(checkout, '--write', str(path)) == 1
    err = capsys.readouterr().err
    assert message in err
    assert path.read_text() == text


@pytest.mark.parametrize(
    ('argv', 'message'),
    [
        (['--task', 'det'], 'configs/det/metafile.yml does not exist; tasks with a metafile: cls'),
        (['--results', 'nowhere'], '--results nowhere: no such folder'),
    ],
)
def test_user_errors_are_one_line(checkout, capsys, argv, message):
    assert tool(checkout, *argv) == 1
    assert message in capsys.readouterr().err
