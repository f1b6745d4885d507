"""A user's own data: config and commands of configs/pose/README.md on a few small images."""

import json
import re

import numpy as np
import pytest
from mmengine.config import Config

from helpers.keypoint_files import person, write_people
from helpers.tool_runs import ROOT, call, run_tool
from moganet.checkpoint import read_checkpoint

README = ROOT / 'configs/pose/README.md'
# A network of a few thousand parameters, one epoch: lines that follow those of the README.
TINY = """
_base_ = 'birds.py'
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2)),
                  init_cfg=None),
    head=dict(in_channels=32, deconv_out_channels=(8, 8, 8)))
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False)
val_dataloader = dict(num_workers=0, persistent_workers=False)
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1, val_interval=1)
default_hooks = dict(checkpoint=dict(interval=1))
"""
BOX = [10, 6, 30, 60]
JOINTS = [20, 10, 2, 12, 30, 1, 38, 30, 2, 25, 60, 2]  # beak, wings, tail
COUNT = 4


def bird(number: int, image: int, **keys) -> dict:
    return person(number, image, BOX, **dict(dict(keypoints=JOINTS, num_keypoints=COUNT), **keys))


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Path of a tiny version of the README's config, with its data beside it."""
    monkeypatch.chdir(tmp_path)
    # MMEngine formats the config for every log and checkpoint, which takes most of the time of a short run.
    monkeypatch.setattr(Config, 'pretty_text', '')
    section = README.read_text().partition('## Your own data')[2]
    (text,) = re.findall(r'```python\n(# configs/pose/birds\.py\n.*?)```', section, re.DOTALL)
    (tmp_path / 'birds.py').write_text(text.replace("_base_ = '", f"_base_ = '{ROOT}/configs/pose/"))
    data = tmp_path / 'data/birds'
    for split in ('train', 'val'):
        write_people(data, split, [bird(i, i) for i in (1, 2, 3)] + [bird(4, 2)])
        (data / f'annotations/person_keypoints_{split}2017.json').rename(data / f'{split}.json')
    (data / 'train2017').rename(data / 'images')
    path = tmp_path / 'tiny.py'
    path.write_text(TINY)
    return path


def test_own_data_train_two_iterations_and_test(own, tmp_path):
    call('train', own, '--work-dir', 'run')
    saved = read_checkpoint(tmp_path / 'run/epoch_1.pth')
    assert saved['meta']['iter'] == 2
    assert saved['state_dict']['head.final_layer.weight'].shape[0] == COUNT
    assert saved['meta']['dataset_meta']['dataset_name'] == 'birds'
    call('test', own, 'run/epoch_1.pth', '--out', 'metrics.json', '--show-dir', tmp_path / 'pictures')
    assert -1 <= json.loads((tmp_path / 'metrics.json').read_text())['coco/AP'] <= 1
    assert sorted(path.name for path in (tmp_path / 'pictures').iterdir()) == [
        '1_0.jpg',
        '2_0.jpg',
        '2_1.jpg',
        '3_0.jpg',
    ]


def test_own_data_flip_as_their_joints_say(own):
    from mmengine.registry import DefaultScope
    from mmpose.registry import DATASETS

    from moganet.run.config import load_config

    cfg = load_config(own)
    for step in cfg.train_dataloader.dataset.pipeline:
        if step.type == 'RandomFlip':
            step.prob = 1.0
    cfg.train_dataloader.dataset.pipeline = cfg.train_dataloader.dataset.pipeline[:4]
    with DefaultScope.overwrite_default_scope('mmpose'):
        mirrored = DATASETS.build(cfg.train_dataloader.dataset)[0]['keypoints'][0]
    joints = np.reshape(JOINTS, (COUNT, 3))[[0, 2, 1, 3], :2]
    assert np.allclose(mirrored, [[95 - x, y] for x, y in joints])  # the image is 96 wide


@pytest.mark.parametrize(
    ('changes', 'words'),
    [
        (dict(keypoints=JOINTS[:9]), 'data/birds/train.json: annotation 3 has 9 numbers in keypoints, expected 12'),
        (dict(num_keypoints=None), "data/birds/train.json: annotation 3 has no 'num_keypoints'"),
    ],
)
def test_own_data_that_do_not_fit_end_in_one_line(changes, words, own, tmp_path, capsys):
    path = tmp_path / 'data/birds/train.json'
    content = json.loads(path.read_text())
    content['annotations'][2].update(changes)
    content['annotations'][2] = {k: v for k, v in content['annotations'][2].items() if v is not None}
    path.write_text(json.dumps(content))
    assert run_tool('train', own, '--work-dir', 'run') == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith(f'error: {words}')


def test_own_data_with_the_heads_joints_unchanged_end_in_one_line(own, capsys):
    assert run_tool('train', own, '--work-dir', 'run', '--cfg-options', 'model.head.out_channels=17') == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert "has the 4 joints of 'birds', and model.head.out_channels is 17: set --cfg-options" in error
