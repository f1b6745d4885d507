"""tools/test.py, infer.py, make_mini_data.py: what they compute, write and refuse."""

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from helpers.tool_runs import ROOT, call, run_tool
from moganet.checkpoint import read_checkpoint, write_checkpoint
from moganet.fusion import FusedBlock
from moganet.run import tasks
from moganet.run.config import load_config


@pytest.fixture
def run(tiny_runs):
    """(config, checkpoint) of a tiny run with EMA."""
    config, folder = tiny_runs('train_cfg = dict(max_epochs=1)')
    return config, folder / 'epoch_1.pth'


def predict(config, checkpoint):
    """Labels and scores of the test images by the model alone, without Runner, hooks or evaluator."""
    from mmengine.registry import DefaultScope
    from mmpretrain.registry import DATASETS, MODELS

    cfg = load_config(config)
    with DefaultScope.overwrite_default_scope('mmpretrain'):
        model = MODELS.build(dict(cfg.model, data_preprocessor=dict(cfg.data_preprocessor))).eval()
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    model.load_state_dict(read_checkpoint(checkpoint)['state_dict'])
    samples = [dataset[i] for i in range(len(dataset))]
    batch = dict(inputs=[s['inputs'] for s in samples], data_samples=[s['data_samples'] for s in samples])
    with torch.no_grad():
        scores = torch.stack([sample.pred_score for sample in model.test_step(batch)])
    return np.array([s['data_samples'].gt_label.item() for s in samples]), scores.numpy()


def test_metrics_are_those_of_the_averaged_weights_in_the_file(run, tmp_path):
    config, checkpoint = run
    out = tmp_path / 'metrics.json'
    call('test', config, checkpoint, '--work-dir', tmp_path / 'test', '--out', out)
    truth, scores = predict(config, checkpoint)
    expected = 100 * np.mean(scores.argmax(1) == truth)
    assert json.loads(out.read_text())['accuracy/top1'] == pytest.approx(expected)


def test_predictions_and_pictures_are_written(run, tmp_path):
    config, checkpoint = run
    call(
        'test',
        config,
        checkpoint,
        '--work-dir',
        tmp_path / 'test',
        '--out',
        tmp_path / 'out/predictions.pkl',
        '--show-dir',
        tmp_path / 'pictures',
    )
    predictions = pickle.loads((tmp_path / 'out/predictions.pkl').read_bytes())  # noqa: S301  written just above
    _, scores = predict(config, checkpoint)
    assert len(predictions) == 16
    assert np.allclose(np.stack([p['pred_score'].numpy() for p in predictions]), scores, atol=1e-5)
    assert len(list((tmp_path / 'pictures').rglob('*.png'))) == 16


@pytest.mark.parametrize('tta', [[], ['--tta']], ids=['plain', 'tta'])
def test_a_fused_model_predicts_the_same(run, tta, tmp_path, monkeypatch):
    config, checkpoint = run
    fused = []
    forward = FusedBlock.forward
    monkeypatch.setattr(FusedBlock, 'forward', lambda self, x: fused.append(None) or forward(self, x))
    scores = []
    for name, option in (('whole', []), ('fused', ['--fuse'])):
        out = tmp_path / f'{name}.pkl'
        call('test', config, checkpoint, '--work-dir', tmp_path / 'test', '--out', out, *option, *tta)
        assert bool(fused) == bool(option)
        predictions = pickle.loads(out.read_bytes())  # noqa: S301  written just above
        scores.append(np.stack([p['pred_score'].numpy() for p in predictions]))
    assert np.allclose(*scores, atol=1e-6)
    assert scores[0].std() > 1e-4


def test_infer_says_the_same_of_a_fused_model(run, tmp_path, mini_cls, capsys, monkeypatch):
    config, checkpoint = run
    fused = []
    forward = FusedBlock.forward
    monkeypatch.setattr(FusedBlock, 'forward', lambda self, x: fused.append(None) or forward(self, x))
    lines, images = [], sorted((mini_cls / 'val/3').iterdir())[:4]
    for option in ([], ['--fuse']):
        call('infer', config, checkpoint, *images, '--out-dir', tmp_path / 'out', *option)
        assert bool(fused) == bool(option)
        lines.append([line for line in capsys.readouterr().out.splitlines() if ' -> ' in line])
    assert lines[0] == lines[1]
    assert lines[0]


def test_tta_averages_over_flips(run, tmp_path):
    config, checkpoint = run
    call('test', config, checkpoint, '--work-dir', tmp_path / 'test', '--tta', '--out', tmp_path / 'tta.pkl')
    averaged = pickle.loads((tmp_path / 'tta.pkl').read_bytes())  # noqa: S301  written just above
    _, scores = predict(config, checkpoint)
    averaged = np.stack([p['pred_score'].numpy() for p in averaged])
    assert averaged.shape == scores.shape
    assert np.allclose(averaged.sum(1), 1, atol=1e-4)
    assert not np.allclose(averaged, scores, atol=1e-6)


@pytest.mark.parametrize(
    ('args', 'words'),
    [
        (['gone.pth'], ['gone.pth', 'no such checkpoint']),
        (['moganet://smal_1k'], ['smal_1k', 'small_1k']),
        (['CHECKPOINT', '--out', 'metrics.txt'], ['metrics.txt', '.json', '.pkl']),
        (['CHECKPOINT', '--cfg-options', 'model.head.num_classes=7'], ['10 class folders']),
        (['CHECKPOINT', '--cfg-options', 'model.backbone.arch.depths=(1,1,2,1)'], ['blocks 1, 1, 1, 1']),
        (['CHECKPOINT', '--cfg-options', 'model.backbone.gate=double'], ["gate='single'", "gate='double'"]),
    ],
)
def test_mistakes_end_in_one_line(run, args, words, tmp_path, capsys):
    config, checkpoint = run
    args = [checkpoint if arg == 'CHECKPOINT' else arg for arg in args]
    assert run_tool('test', config, *args, '--work-dir', tmp_path / 'test') == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: ')
    assert [word for word in words if word not in error] == []


def test_a_checkpoint_of_other_classes_is_refused(run, tmp_path, capsys):
    config, checkpoint = run
    other = read_checkpoint(checkpoint)
    for name in ('head.fc.weight', 'head.fc.bias'):
        other['state_dict'][name] = other['state_dict'][name][:7].clone()
    write_checkpoint(other, tmp_path / 'seven.pth')
    assert run_tool('test', config, tmp_path / 'seven.pth', '--work-dir', tmp_path / 'test') == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert 'head.fc.weight has 7 outputs, the model 10' in error


def test_infer_draws_each_image_and_names_its_class(run, tmp_path, mini_cls, capsys):
    config, checkpoint = run
    folder = tmp_path / 'photos'
    folder.mkdir()
    for i, image in enumerate(sorted((mini_cls / 'val/3').iterdir())[:2]):
        (folder / f'{i}.png').write_bytes(image.read_bytes())
    Image.new('RGB', (70, 40), (10, 200, 30)).save(tmp_path / '0.jpg')
    call('infer', config, checkpoint, folder, tmp_path / '0.jpg', '--out-dir', tmp_path / 'out')
    lines = [line for line in capsys.readouterr().out.splitlines() if ' -> ' in line]
    assert len(lines) == 3
    assert all('%)' in line for line in lines)
    pictures = sorted((tmp_path / 'out').iterdir())
    assert len(pictures) == 3  # two images are called 0
    assert all(Image.open(picture).size == (880, 374) for picture in pictures)


def test_infer_agrees_with_the_test_loop(run, tmp_path, mini_cls):
    from mogacls.infer import Predictor

    config, checkpoint = run
    _, scores = predict(config, checkpoint)
    images = sorted((mini_cls / 'val').glob('*/*.png'))[:3]
    predictor = Predictor(load_config(config), str(checkpoint))
    assert predictor.classes == list('0123456789')
    for image, expected in zip(images, scores, strict=False):
        assert np.allclose(predictor(image).numpy(), expected, atol=1e-5)


@pytest.mark.parametrize(
    ('image', 'words'), [('gone.jpg', ['gone.jpg', 'does not exist']), ('text.jpg', ['text.jpg', 'cannot be read'])]
)
def test_infer_names_an_image_it_cannot_read(run, image, words, tmp_path, capsys):
    (tmp_path / 'text.jpg').write_text('not an image')
    config, checkpoint = run
    assert run_tool('infer', config, checkpoint, tmp_path / image, '--out-dir', tmp_path / 'out') == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert [word for word in words if word not in error] == []


def test_mini_data_are_the_real_scans_in_a_fixed_split(tmp_path, mini_cls):
    from sklearn.datasets import load_digits

    call('make_mini_data', '--task', 'cls', '--out', tmp_path / 'again')
    digits = load_digits()
    counts = {}
    for split in ('train', 'val'):
        files = sorted((mini_cls / split).glob('*/*.png'))
        counts[split] = len(files)
        for file in files[::50]:
            index = int(file.stem)
            assert digits.target[index] == int(file.parent.name)
            assert np.array_equal(np.asarray(Image.open(file)), np.round(digits.images[index] * 15.9375))
            assert (tmp_path / 'again' / file.relative_to(mini_cls)).read_bytes() == file.read_bytes()
    assert counts == dict(train=1437, val=360)
    assert len({file.stem for file in mini_cls.rglob('*.png')}) == 1797  # none in both


def test_a_task_whose_package_is_not_there_is_named(capsys, monkeypatch):
    monkeypatch.setitem(tasks.PACKAGES, 'music', 'mogamusic')
    assert run_tool('make_mini_data', '--task', 'music') == 1
    assert "task 'music' needs mogamusic, and mogamusic is not installed" in capsys.readouterr().err


def test_demo_trains_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    small = [
        'model.backbone.arch=xtiny',
        'train_cfg.max_epochs=1',
        'train_dataloader.dataset.indices=64',
        'val_dataloader.dataset.indices=40',
        f'data_root={tmp_path}/data',
    ]
    call('demo', '--work-dir', tmp_path / 'run', '--cfg-options', *small)
    out = capsys.readouterr().out
    assert 'iteration 1/1' in out
    assert 'evaluation: accuracy/top1' in out
    assert 'top-1 on 40 scans' in out
    for name in ('confusion_matrix.png', 'predictions.png'):
        picture = np.asarray(Image.open(tmp_path / 'run' / name).convert('L'))
        assert min(picture.shape) > 400
        assert np.mean(picture < 128) > 0.01  # something is drawn
    assert f'{tmp_path}/run/epoch_1.pth' in out
    assert (tmp_path / 'run/epoch_1.pth').is_file()
