"""The metafiles as data: numbers as printed, the published rows, and one clear line for what is malformed."""

import pytest
import yaml

from helpers.cases import for_each
from moganet.checkpoint import find_weights
from moganet.paper.metafile import CHECKOUT, Metric, Printed, rows, tasks

# The table of the official README: input side, parameters, FLOPs, top-1, top-5.
README_TABLE = {
    'moganet_xt': (224, '2.97 M', '0.80 G', '76.5', '93.4'),
    'moganet_xt_256': (256, '2.97 M', '1.04 G', '77.2', '93.8'),
    'moganet_t': (224, '5.20 M', '1.10 G', '79.0', '94.6'),
    'moganet_t_256': (256, '5.20 M', '1.44 G', '79.6', '94.9'),
    'moganet_t_256_refined': (256, '5.20 M', '1.44 G', '80.0', '95.0'),
    'moganet_s': (224, '25.3 M', '4.97 G', '83.4', '96.9'),
    'moganet_b': (224, '43.9 M', '9.93 G', '84.3', '97.0'),
    'moganet_l': (224, '82.5 M', '15.9 G', '84.7', '97.1'),
    'moganet_xl': (224, '180.8 M', '34.5 G', '85.1', '97.4'),
}
TABLE_A7 = {
    'moganet_xt_refined': '77.1',
    'moganet_xt_256_refined': '77.6',
    'moganet_t_refined': '79.4',
    'moganet_t_256_refined': '80.0',
}
TABLE_A15 = {
    'xt': ('72.8', '91.3'),
    't': ('75.4', '92.6'),
    's': ('81.1', '95.5'),
    'b': ('82.2', '95.9'),
    'l': ('83.2', '96.4'),
}

METAFILE = """
Collections:
  - Name: MogaNet
    Metrics:
      Top 1 Accuracy: {Key: accuracy/top1, Tolerance: 0.2}
Models:
  - Name: first
    In Collection: MogaNet
    Config: configs/cls/first.py
    Source: [README]
    Metadata: {Parameters: 2.97 M, FLOPs: 0.80 G, Input Size: [224, 192]}
    Results:
      - Task: Image Classification
        Dataset: ImageNet-1k
        Metrics: {Top 1 Accuracy: 76.5}
    Misprints:
      - {Field: Parameters, Source: README, Printed: 2.97 M, Right: 2.956 M, Reason: it is}
"""


def write_metafile(root, text):
    folder = root / 'configs/cls'
    folder.mkdir(parents=True)
    (folder / 'metafile.yml').write_text(text)
    return root


@for_each(
    [
        ('0.80 G', 0.7951e9, True),
        ('0.80 G', 0.7949e9, False),
        ('2.97 M', 2_956_066, False),
        ('34.5 G', 34.554e9, False),
        ('102 G', 101.545e9, True),
        ('43.9 M', 43_720_475, False),
        ('2.6 K', 2550, True),
        ('76.5', 76.46, True),
    ]
)
def test_printed_matches_what_rounds_to_its_digits(text, number, matches):
    assert Printed(text).matches(number) is matches


def test_printed_value_is_in_ones():
    assert Printed('0.80 G').value == 0.8e9
    assert Printed('25.3 M').value == 25.3e6
    assert Printed('76.5').value == 76.5


@for_each(['0.80G', '-1 M', '1,000', '5 T', '', 'many'])
def test_printed_refuses_what_is_no_printed_number(text):
    with pytest.raises(ValueError, match='no number as a table prints it'):
        Printed(text)


def test_rows_hold_the_nine_rows_of_the_readme():
    found = [row for row in rows('cls') if 'README' in row.sources]
    assert {
        row.name: (row.shape[0], *(number.text for number in row.numbers.values())) for row in found
    } == README_TABLE
    assert [row.name for row in found] == list(README_TABLE)


def test_rows_hold_the_refined_rows_of_table_a7():
    found = {row.name: row.numbers['Top 1 Accuracy'].text for row in rows('cls') if 'Table A7' in row.sources}
    assert found == TABLE_A7


def test_rows_hold_the_rsb_a3_rows_of_table_a15():
    found = {
        row.name: (row.numbers['Top 1 Accuracy'].text, row.numbers['Top 5 Accuracy'].text)
        for row in rows('cls')
        if 'Table A15' in row.sources
    }
    assert found == {f'moganet_{size}_rsb_a3': accuracies for size, accuracies in TABLE_A15.items()}


def test_rows_hold_the_one_published_imagenet21k_result():
    row = next(row for row in rows('cls') if row.name == 'moganet_xl_384_in21k_ft')
    assert row.shape == (384, 384)
    assert {name: number.text for name, number in row.numbers.items()} == {
        'Parameters': '181 M',
        'FLOPs': '102 G',
        'Top 1 Accuracy': '87.8',
    }


@for_each(tasks())
def test_rows_name_configs_that_exist(task):
    for row in rows(task):
        assert (CHECKOUT / row.config).is_file(), row.config


@for_each(tasks())
def test_rows_agree_with_the_table_of_published_weights(task):
    named = [row for row in rows(task) if row.weights_name]
    assert named or task == 'expose'  # whose weights were never released
    for row in named:
        weights = find_weights(row.weights_name)
        assert (row.weights, row.sha256) == (weights.url, weights.sha256), row.name


def test_rows_are_read_from_another_root(tmp_path):
    (row,) = rows('cls', write_metafile(tmp_path, METAFILE))
    assert (row.name, row.config, row.shape) == ('first', 'configs/cls/first.py', (224, 192))
    assert row.metrics == {'Top 1 Accuracy': Metric('accuracy/top1', tolerance=0.2, scale=1.0)}
    assert row.misprints[0].right.value == 2.956e6
    assert tasks(tmp_path) == ['cls']


def test_rows_of_a_task_without_metafile_name_those_that_have_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'tasks with a metafile: cls$'):
        rows('det', write_metafile(tmp_path, METAFILE))


@pytest.mark.parametrize(
    ('old', 'new', 'message'),
    [
        ('Name: first', 'Nam: first', r'Models\[0\] lacks Name'),
        ('Config: configs/cls/first.py', '', 'first lacks Config'),
        ('Config:', 'Configg: x\n    Config:', 'first has the unknown key Configg'),
        ('FLOPs: 0.80 G, ', '', 'first: Metadata lacks FLOPs'),
        ('0.80 G', '0.80', 'first: FLOPs: .*expected a unit'),
        ('0.80 G', 'lots', "first: FLOPs: 'lots' is no number"),
        ('76.5', '76.5 M', 'first: Top 1 Accuracy: .*expected no unit'),
        ('{Top 1 Accuracy: 76.5}', '{Top One: 76.5}', "first: 'Top One' is no metric of the collection"),
        ('[224, 192]', '224', r'first: Input Size is 224: expected \[height, width\]'),
        (
            'In Collection: MogaNet',
            'In Collection: ResNet',
            "first: In Collection is 'ResNet': expected one of MogaNet",
        ),
        ('Field: Parameters', 'Field: Size', "first: Misprints: Field is 'Size'"),
        ('Reason: it is', 'Why: it is', 'first: Misprints lacks Reason'),
        ('Source: [README]', 'SHA-256: abc\n    Source: [README]', 'first: SHA-256'),
        ('Source: [README]', 'Source: README', 'first: Source'),
        ('Key: accuracy/top1, ', '', r'Collections\[0\]: Metrics: Top 1 Accuracy lacks Key'),
        ('Models:', 'Models: []\nModel:', 'unknown key Model'),
        ('  - Name: MogaNet', '  - Name: [', 'is no YAML'),
    ],
)
def test_malformed_metafile_is_one_line_with_file_and_entry(tmp_path, old, new, message):
    assert old in METAFILE
    root = write_metafile(tmp_path, METAFILE.replace(old, new, 1))
    with pytest.raises(ValueError, match=message) as caught:
        rows('cls', root)
    assert str(tmp_path / 'configs/cls/metafile.yml') in str(caught.value)
    assert '\n' not in str(caught.value)


def test_metafile_with_one_name_twice_is_refused(tmp_path):
    content = yaml.safe_load(METAFILE)
    content['Models'] *= 2
    with pytest.raises(ValueError, match='two models are called first'):
        rows('cls', write_metafile(tmp_path, yaml.safe_dump(content)))
