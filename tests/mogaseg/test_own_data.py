"""Users' data as in configs/seg/README.md: its configs and commands, on a few small images."""

import json
import re

import cv2
import numpy as np
import pytest
from mmengine.config import Config
from PIL import Image

from helpers.tool_runs import ROOT, call
from moganet import commands
from moganet.checkpoint import read_checkpoint
from moganet.run.config import load_config

README = ROOT / 'configs/seg/README.md'
SECTION = README.read_text().partition('## Your own data')[2].partition('## Results')[0]
WIDTH, HEIGHT = 96, 64
# Lines after those of the README: a network of a few thousand parameters on small images, two iterations.
TINY = """
_base_ = '{base}'
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2)),
                  init_cfg=None),
    data_preprocessor=dict(size=(64, 64)))
train_pipeline = _base_.train_pipeline
train_pipeline[2]['scale'] = (256, 64)
train_pipeline[3]['crop_size'] = (64, 64)
test_pipeline = _base_.test_pipeline
test_pipeline[1]['scale'] = (256, 64)
train_dataloader = dict(batch_size=2, num_workers=0, persistent_workers=False, dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(num_workers=0, persistent_workers=False, dataset=dict(pipeline=test_pipeline))
test_dataloader = val_dataloader
train_cfg = dict(max_iters=2, val_interval=2)
default_hooks = dict(checkpoint=dict(interval=2), logger=dict(interval=1))
"""
FPN = "model['neck'] = dict(in_channels=[8, 16, 24, 32])\nmodel['decode_head'] = dict(channels=16)\n"
UPERNET = (
    "model['decode_head'] = dict(in_channels=[8, 16, 24, 32], channels=16)\n"
    "model['auxiliary_head'] = dict(in_channels=24, channels=16)\n"
)


def config_of_the_readme() -> str:
    (text,) = re.findall(r'```python\n(# configs/seg/pets\.py\n.*?)```', SECTION, re.DOTALL)
    return text


def write_pets(root, suffix='.jpg') -> None:
    """Write six photographs: a cat (1) or a dog (2) on a background (0), and an unlabelled strip."""
    for split, numbers in (('train', range(4)), ('val', range(4, 6))):
        for kind in ('images', 'labels'):
            (root / kind / split).mkdir(parents=True, exist_ok=True)
        for i in numbers:
            pixels, labels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8), np.zeros((HEIGHT, WIDTH), np.uint8)
            labels[16:48, 20:60] = 1 + i % 2
            pixels[labels == 1], pixels[labels == 2] = (220, 40, 40), (40, 40, 220)
            labels[:, -4:] = 255
            Image.fromarray(pixels).save(root / f'images/{split}/{i}{suffix}')
            Image.fromarray(labels).save(root / f'labels/{split}/{i}.png')


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return a function that writes the README's config, changed, with its data, and returns a tiny version's path."""
    monkeypatch.chdir(tmp_path)
    # MMEngine formats the config for every log and checkpoint, which would take most of the time of so short a run.
    monkeypatch.setattr(Config, 'pretty_text', '')

    def write(heads, suffix='.jpg', **changes):
        text = config_of_the_readme()
        for before, after in {"_base_ = '": f"_base_ = '{ROOT}/configs/seg/", **changes}.items():
            assert before in text
            text = text.replace(before, after)
        (tmp_path / 'pets.py').write_text(text)
        write_pets(tmp_path / 'data/pets', suffix)
        config = tmp_path / 'tiny_pets.py'
        config.write_text(TINY.format(base='pets.py') + heads)
        return config

    return write


def test_own_data_train_and_test(own, tmp_path):
    config = own(FPN)
    call('train', config, '--auto-scale-lr', '--work-dir', 'run')
    saved = read_checkpoint(tmp_path / 'run/iter_2.pth')
    assert tuple(saved['meta']['dataset_meta']['classes']) == ('background', 'cat', 'dog')
    assert saved['state_dict']['decode_head.conv_seg.weight'].shape[0] == 3
    scalars = saved['message_hub']['log_scalars']
    losses, rates = (scalars[f'train/{key}'].data[0] for key in ('decode.loss_ce', 'lr'))
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    assert rates[0] == pytest.approx(2e-4 * 2 / 32)  # batch 2 in place of 32
    call('test', config, 'run/iter_2.pth', '--out', 'metrics.json', '--show-dir', 'pictures')
    assert 0 <= json.loads((tmp_path / 'metrics.json').read_text())['mIoU'] <= 100
    pictures = [cv2.imread(str(path)) for path in sorted((tmp_path / 'pictures').rglob('*.png'))]
    # Labels and prediction side by side.
    assert [picture.shape for picture in pictures] == [(HEIGHT, 2 * WIDTH, 3)] * 2


def test_own_data_train_upernet_and_read_png(own, tmp_path):
    config = own(
        UPERNET,
        '.png',
        **{
            'fpn_moganet_t.py': 'upernet_moganet_t.py',
            'decode_head=dict(num_classes=3)': 'decode_head=dict(num_classes=3), auxiliary_head=dict(num_classes=3)',
            "data_root='data/pets/'": "data_root='data/pets/', img_suffix='.png'",
        },
    )
    call('train', config, '--work-dir', 'run')
    saved = read_checkpoint(tmp_path / 'run/iter_2.pth')
    assert saved['state_dict']['auxiliary_head.conv_seg.weight'].shape[0] == 3


def test_own_data_change_classes_and_schedule_only(own):
    ours, parent = load_config(own(FPN).with_name('pets.py')), load_config(ROOT / 'configs/seg/fpn_moganet_t.py')
    assert ours.train_cfg.max_iters == ours.param_scheduler[0].end == 10 * ours.train_cfg.val_interval == 8000
    assert ours.optim_wrapper == parent.optim_wrapper
    assert ours.model.backbone == parent.model.backbone
    for split in ('train', 'val', 'test'):
        dataset = ours[f'{split}_dataloader'].dataset
        assert dataset.pipeline == parent[f'{split}_dataloader'].dataset.pipeline
        assert dataset.data_prefix.img_path == f'images/{"train" if split == "train" else "val"}'
        assert dataset.get('reduce_zero_label', False) is False


def test_swap_command_of_the_readme_writes_its_config(tmp_path):
    (command,) = re.findall(r'^    moganet (swap .*)$', SECTION, re.MULTILINE)
    words = command.replace('configs/seg', str(tmp_path)).split()
    assert commands.main(words) == 0
    cfg = load_config(tmp_path / 'segformer_moganet_s.py')
    assert cfg.model.decode_head.in_channels == [64, 128, 320, 512]
