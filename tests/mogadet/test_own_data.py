"""Users' data as in configs/det/README.md: its configs and commands, on a few small images."""

import json
import os
import re
import subprocess
import sys

import pytest
from mmengine.config import Config
from PIL import Image, ImageDraw

from helpers.tool_runs import ROOT, call, run_tool
from moganet import commands
from moganet.checkpoint import read_checkpoint

README = ROOT / 'configs/det/README.md'
WIDTH, HEIGHT = 64, 48
BOX = (10, 12, 30, 20)  # x, y, width, height
# Lines after those of the README: a network of a few thousand parameters on small images, one epoch.
TINY = """
_base_ = '{base}'
custom_imports = dict(imports=['mogadet', 'mogadet.preflight'])
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2)),
                  init_cfg=None),
    neck=dict(in_channels=[8, 16, 24, 32]),
    test_cfg=dict(rpn=dict(nms_pre=50, max_per_img=20), rcnn=dict(score_thr=0.0, max_per_img=5)))
small = dict(type='Resize', scale=(64, 48), keep_ratio=True)
load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', with_bbox=True)]
keys = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor')
train_dataloader = dict(num_workers={workers}, persistent_workers=False, dataset=dict(
    pipeline=load + [small, dict(type='PackDetInputs')]))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(
    pipeline=load + [small, dict(type='PackDetInputs', meta_keys=keys)]))
test_dataloader = val_dataloader
train_cfg = dict(max_epochs=1)
"""


def blocks() -> dict[str, str]:
    """Return the configs of the README by their names."""
    section = README.read_text().partition('## Your own data')[2]
    texts = re.findall(r'```python\n(# configs/det/(\w+)\.py\n.*?)```', section, re.DOTALL)
    return {name: text for text, name in texts}


def write_coco(root) -> None:
    (root / 'images').mkdir(parents=True)
    for split, numbers in (('train', range(1, 5)), ('val', range(5, 8))):
        images = [dict(id=i, file_name=f'{i}.png', width=WIDTH, height=HEIGHT) for i in numbers]
        boxes = [dict(id=i, image_id=i, category_id=5 + i % 2, bbox=BOX, area=600, iscrowd=0) for i in numbers]
        categories = [dict(id=5, name='cat'), dict(id=6, name='dog')]
        (root / f'{split}.json').write_text(json.dumps(dict(images=images, annotations=boxes, categories=categories)))
        for i in numbers:
            picture(i).save(root / f'images/{i}.png')


def write_voc(root) -> None:
    for folder in ('Annotations', 'JPEGImages', 'ImageSets/Main'):
        (root / folder).mkdir(parents=True)
    x, y, w, h = BOX
    for split, numbers in (('train', range(1, 5)), ('val', range(5, 8))):
        (root / f'ImageSets/Main/{split}.txt').write_text(''.join(f'{i}\n' for i in numbers))
        for i in numbers:
            picture(i).save(root / f'JPEGImages/{i}.jpg')
            (root / f'Annotations/{i}.xml').write_text(
                f'<annotation><size><width>{WIDTH}</width><height>{HEIGHT}</height></size><object><name>'
                f'{("cat", "dog")[i % 2]}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{x + w}</xmax>'
                f'<ymax>{y + h}</ymax></bndbox></object></annotation>'
            )


def picture(number: int) -> Image.Image:
    image = Image.new('RGB', (WIDTH, HEIGHT), (90, 120, 60))
    x, y, w, h = BOX
    ImageDraw.Draw(image).rectangle((x, y, x + w, y + h), fill=((250, 40, 40), (40, 40, 250))[number % 2])
    return image


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return a function that writes a config of the README with its data and returns the path of a tiny version."""
    monkeypatch.chdir(tmp_path)
    # MMEngine formats the config for every log and checkpoint, which would take most of the time of so short a run.
    monkeypatch.setattr(Config, 'pretty_text', '')

    def write(name, workers=0):
        text = blocks()[name].replace("_base_ = '", f"_base_ = '{ROOT}/configs/det/")
        (tmp_path / f'{name}.py').write_text(text)
        dict(pets=write_coco, pets_voc=write_voc)[name](tmp_path / 'data' / name)
        config = tmp_path / f'tiny_{name}.py'
        config.write_text(TINY.format(base=f'{name}.py', workers=workers))
        return config

    return write


@pytest.mark.parametrize(('name', 'metric'), [('pets', 'coco/bbox_mAP'), ('pets_voc', 'pascal_voc/mAP')])
def test_own_data_train_and_test(name, metric, own, tmp_path):
    config = own(name)
    call('train', config, '--work-dir', 'run')
    saved = read_checkpoint(tmp_path / 'run/epoch_1.pth')
    assert tuple(saved['meta']['dataset_meta']['classes']) == ('cat', 'dog')
    assert saved['state_dict']['roi_head.bbox_head.fc_cls.weight'].shape[0] == 3  # and the background
    call('test', config, 'run/epoch_1.pth', '--out', 'metrics.json', '--show-dir', tmp_path / 'pictures')
    assert 0 <= json.loads((tmp_path / 'metrics.json').read_text())[metric] <= 1
    assert len(list((tmp_path / 'pictures').rglob('*.*g'))) == 3


@pytest.mark.parametrize('workers', [0, 1])
def test_own_data_with_a_broken_image_end_in_one_line(workers, own, tmp_path, capsys):
    config = own('pets', workers)
    (tmp_path / 'data/pets/images/2.png').write_bytes(b'no image')
    assert run_tool('train', config, '--work-dir', 'run') == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith('error: data/pets/images/2.png cannot be read as an image')


def test_own_data_with_other_classes_end_in_one_line(own, capsys):
    config = own('pets')
    assert (
        run_tool(
            'train',
            config,
            '--work-dir',
            'run',
            '--cfg-options',
            "train_dataloader.dataset.metainfo.classes=('cat','fox')",
        )
        == 1
    )
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert 'data/pets/train.json has the categories cat, dog, and' in error
    assert 'has not fox' in error


@pytest.mark.slow
def test_every_process_stops_at_a_broken_image(own, tmp_path):
    config = own('pets')
    (tmp_path / 'data/pets/images/2.png').write_bytes(b'no image')
    command = ['bash', ROOT / 'tools/dist_train.sh', config, '2', '--work-dir', 'run']
    env = dict(os.environ, PYTHON=sys.executable, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=env, timeout=300)
    assert done.returncode != 0
    assert 'data/pets/images/2.png cannot be read as an image' in done.stderr


def test_swap_command_of_the_readme_writes_its_config(tmp_path, capsys):
    (command,) = re.findall(r'^    moganet (swap .*)$', README.read_text(), re.MULTILINE)
    words = command.replace('configs/det', str(tmp_path)).split()
    assert commands.main(words) == 0
    assert Config.fromfile(tmp_path / 'dino_moganet_s.py').model.neck.in_channels == [128, 320, 512]
