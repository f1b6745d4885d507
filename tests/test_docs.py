"""The documents are true: paths exist, links lead somewhere, commands run, tables are those of the metafiles."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.tool_runs import ROOT, call, run_tool
from moganet import MogaNet
from moganet.paper import metafile
from moganet.run.config import load_config

DOCUMENTS = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ('*.md', 'docs/*.md', 'configs/README.md', 'configs/*/README.md')
    for path in ROOT.glob(pattern)
)
# Files that a document tells its reader to write.
WITHOUT_PATHS = ('CODE_OF_CONDUCT.md', 'UPGRADING.md')
TO_BE_WRITTEN = ('configs/cls/moganet_xl_fsdp.py',)
README = (ROOT / 'README.md').read_text()
# Names of the README's table of tasks for those of the metafiles.
METRICS = {'top-1': 'Top 1 Accuracy'}


def blocks(language, text=README):
    return re.findall(rf'^```{language}\n(.*?)^```', text, re.M | re.S)


COMMANDS = [line for block in blocks('bash') for line in block.strip().splitlines()]


@pytest.mark.parametrize('document', DOCUMENTS)
def test_paths_and_links_exist(document):
    text = (ROOT / document).read_text()
    names = re.findall(r'`((?:moga[a-z]+|configs|tools|tests|requirements|docs|\.github)/[\w./*-]*)`', text)
    links = [link for link in re.findall(r'\]\(([^)#\s]+)(?:#[\w-]+)?\)', text) if '://' not in link]
    assert names or links or document in WITHOUT_PATHS
    missing = [name for name in names if name not in TO_BE_WRITTEN and not list(ROOT.glob(name.rstrip('/')))]
    missing += [link for link in links if not ((ROOT / document).parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize('command', [c for c in COMMANDS if c.startswith('make ')])
def test_make_targets_of_the_readme_exist_and_do_what_is_said(command):
    target = command.split()[1]
    done = subprocess.run(['make', '-n', target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = dict(
        env='tools/setup_env.py', doctor='moganet/doctor.py', demo='tools/demo.py --task cls', test='-m pytest'
    )
    assert expected[target] in done.stdout


def test_every_command_of_the_readme_is_run_by_a_test():
    seen = {
        'make env',
        'make doctor',
        'make demo',
        'make test',
        'pip install -e .',
        'moganet kernels',
        'python tools/train.py configs/cls/moganet_xt_mini.py',
        'python tools/paper_tables.py --task cls',
        'python tools/test.py configs/cls/moganet_xt_mini.py work_dirs/moganet_xt_mini/epoch_8.pth',
        'tools/dist_train.sh configs/det/mask_rcnn_moganet_s.py 8',
        'tools/dist_test.sh configs/det/mask_rcnn_moganet_s.py moganet://det/mask_rcnn_moganet_s 8',
        'moganet swap mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py --arch small --out faster_rcnn_moganet_s.py',
        'python tools/train.py configs/cls/moganet_t_own_data.py --cfg-options data_root=DIR model.head.num_classes=17',
        'python tools/infer.py configs/cls/moganet_t_own_data.py work_dirs/moganet_t_own_data/epoch_30.pth PHOTO.jpg '
        '--cfg-options model.head.num_classes=17',
    }
    assert set(COMMANDS) == seen


def test_training_and_testing_as_in_the_readme(tmp_path, mini_cls):
    small = [
        '--work-dir',
        tmp_path,
        '--cfg-options',
        f'data_root={mini_cls}',
        'train_dataloader.dataset.indices=64',
        'val_dataloader.dataset.indices=8',
        'test_dataloader.dataset.indices=8',
        'train_cfg.max_epochs=1',
    ]
    call('train', ROOT / 'configs/cls/moganet_xt_mini.py', *small)
    call('test', ROOT / 'configs/cls/moganet_xt_mini.py', tmp_path / 'epoch_1.pth', *small)


def test_video_as_in_its_readme(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    text = (ROOT / 'configs/video/README.md').read_text()
    (command,) = [shlex.split(c)[2:] for c in re.findall(r'^    (python tools/train.py .*)$', text, re.M)]
    # Its data are to be fetched: it says what is missing and where that is to be had.
    assert run_tool('train', ROOT / command[0], *command[1:]) == 1
    assert "data_root 'data/moving_mnist' of train_dataloader does not exist" in capsys.readouterr().err


def test_own_data_as_in_the_readme(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    train, infer = (shlex.split(c)[2:] for c in COMMANDS if 'own_data' in c)
    # Nothing there yet: both say what is missing, and that they understood the options.
    assert run_tool('train', str(ROOT / train[0]), *train[1:]) == 1
    assert "data_root 'DIR' of train_dataloader does not exist" in capsys.readouterr().err
    assert run_tool('infer', str(ROOT / infer[0]), *infer[1:]) == 1
    assert 'PHOTO.jpg does not exist' in capsys.readouterr().err


def launches():
    """The commands of all documents that start a launcher on a config, but not those with a config of the reader's."""
    texts = [README, *((ROOT / name).read_text() for name in DOCUMENTS if name.startswith('configs/'))]
    found = [c for text in texts for c in re.findall(r'^(?: {4})?(tools/dist_\w+\.sh configs/\S+ .*)$', text, re.M)]
    return list(dict.fromkeys(found))


@pytest.mark.parametrize('command', launches())
def test_launchers_as_in_the_documents(command, tmp_path):
    fake = tmp_path / 'python'
    fake.write_text('#!/usr/bin/env bash\necho "$@"\n')
    fake.chmod(0o755)
    done = subprocess.run(
        ['bash', *shlex.split(command)],
        cwd=ROOT,
        env=dict(PYTHON=str(fake), PATH='/usr/bin:/bin'),
        capture_output=True,
        text=True,
    )
    words = done.stdout.split()
    assert words[:4] == ['-m', 'torch.distributed.run', '--standalone', '--nproc-per-node']
    config = shlex.split(command)[1]
    count = shlex.split(command)[3 if 'dist_test' in command else 2]
    assert count in ('4', '8')
    assert words[4] == count
    assert words[6] == config
    assert Path(words[5]).is_file()
    assert (ROOT / config).is_file()


def test_the_config_of_own_data_loads(tmp_path):
    text = next(b for b in blocks('python', (ROOT / 'configs/cls/README.md').read_text()) if '_own_data' in b)
    assert len(text.strip().splitlines()) <= 10
    path = tmp_path / 'pets.py'
    path.write_text(text.replace("'moganet_t_own_data.py'", repr(str(ROOT / 'configs/cls/moganet_t_own_data.py'))))
    cfg = load_config(path)
    assert {cfg[f'{split}_dataloader'].dataset.data_root for split in ('train', 'val', 'test')} == {'data/pets'}
    assert cfg.model.head.num_classes == 37


def test_the_backbone_swap_builds_in_a_detector(tmp_path):
    from mmdet.registry import MODELS
    from mmengine.registry import DefaultScope

    text = next(block for block in blocks('python') if '_delete_' in block)
    path = tmp_path / 'swapped.py'
    path.write_text("_base_ = 'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py'\n" + text)
    cfg = load_config(path)
    with DefaultScope.overwrite_default_scope('mmdet'):
        detector = MODELS.build(cfg.model)
    assert isinstance(detector.backbone, MogaNet)
    assert detector.backbone.init_cfg['checkpoint'] == 'moganet://tiny_1k'
    assert [conv.conv.in_channels for conv in detector.neck.lateral_convs] == [64, 128, 256]


def test_swapping_as_in_the_readme(tmp_path, monkeypatch):
    from moganet import commands

    monkeypatch.chdir(tmp_path)
    assert commands.main(shlex.split(next(c for c in COMMANDS if c.startswith('moganet swap')))[1:]) == 0
    cfg = load_config(tmp_path / 'faster_rcnn_moganet_s.py')
    assert (cfg.model.backbone.type, cfg.model.backbone.arch) == ('MogaNet', 'small')
    assert cfg.model.neck.in_channels == [64, 128, 320, 512]


def test_quick_start_prints_the_shapes_of_four_maps(capsys):
    text = blocks('python')[0]
    assert len(text.strip().splitlines()) <= 5
    exec(compile(text, 'README.md', 'exec'), {})  # noqa: S102  the README's own example
    assert capsys.readouterr().out == f'{[(1, c, s, s) for c, s in ((32, 56), (64, 28), (128, 14), (256, 7))]}\n'


def test_the_bare_backbone_loads_weights_and_fuses_as_in_the_readme(tmp_path, monkeypatch):
    import torch

    from helpers import official

    torch.save(dict(state_dict=official.state_dict('tiny')), tmp_path / 'moganet_tiny_sz224_8xbs128_ep300.pth.tar')
    monkeypatch.setenv('MOGANET_WEIGHTS', str(tmp_path))
    text = next(block for block in blocks('python') if 'init_weights()' in block)
    scope = {}
    exec(compile(text, 'README.md', 'exec'), scope)  # noqa: S102  the README's own example
    expected = official.state_dict('tiny')
    model, fused = scope['model'], scope['fused']
    assert all(torch.equal(value, expected[name]) for name, value in model.state_dict().items())
    x = torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        assert official.relative_error(fused(x)[-1], model(x)[-1]) < 1e-5
    assert fused is not model


def test_table_of_tasks_says_the_best_of_each_metafile():
    """Each number is that of the metafile; no other model with weights, or without where there are none, is better."""
    section = README.partition('## Tasks')[2].partition('\n## ')[0]
    lines = re.findall(r'^\| \[.*', section, re.M)
    assert len(lines) == 7
    for line in lines:
        task = re.search(r'\(configs/(\w+)/README.md\)', line)[1]
        config = re.search(r'\((configs/[\w/]+\.py)\)', line)[1]
        rows = {row.config: row for row in metafile.rows(task, ROOT)}
        row, cells = rows[config], [cell.strip() for cell in line.split('|')]
        assert cells[4] == (f'[download]({row.weights})' if row.weights else 'not published')
        for number, name in re.findall(r'([\d.]+) (?:%|mm)? ?([\w -]+)', cells[2]):
            field = METRICS.get(name, name)
            assert row.numbers[field].text == number
            best = min if field in ('MSE', 'PA-MPJPE', '3DRMSE') else max
            others = [
                other.numbers[field].value
                for other in rows.values()
                if field in other.numbers
                and 'moganet' in other.name
                and 'mfmnist' not in other.name
                and bool(other.weights) == bool(row.weights)
            ]
            assert row.numbers[field].value == best(others)


def test_the_console_script_lists_the_weights(capsys):
    from moganet import commands

    assert commands.main(['weights']) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(re.match(r'moganet://small_1k +small +gate=single', line) for line in lines)
    assert any(re.match(r'moganet://openmixup_small_1k +small +gate=double', line) for line in lines)


def test_the_core_installs_as_in_the_readme():
    command = shlex.split(next(c for c in COMMANDS if c.startswith('pip ')))
    done = subprocess.run(
        [sys.executable, '-m', *command, '--dry-run', '--no-deps', '--no-build-isolation'],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert 'Would install moganet-' in done.stdout
