"""Released segmentors: mmseg 0's files load by name, whole and safely; their metrics stand beside the table."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from mmengine.registry import DefaultScope
from mmseg.datasets import ADE20KDataset
from mmseg.registry import DATASETS, MODELS
from PIL import Image

from helpers.cases import for_each
from helpers.checkpoint_files import command
from helpers.tool_runs import ROOT, call, one_row, run_tool
from moganet.arch import ARCHS
from moganet.checkpoint import find_weights, list_weights, load_model
from moganet.run.config import load_config
from mogaseg.complexity import count

CONFIGS = ROOT / 'configs/seg'
RELEASED = [row for row in list_weights() if row.name.startswith('seg/')]
NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')


def with_bias(*modules: str) -> set[str]:
    return {f'{module}.{what}' for module in modules for what in ('weight', 'bias')}


def with_norm(*modules: str) -> set[str]:
    return {f'{module}.conv.weight' for module in modules} | {f'{module}.bn.{w}' for module in modules for w in NORM}


def mmseg0_names(name: str) -> set[str]:
    """Return mmseg 0.29's names of a segmentor's tensors outside the backbone."""
    if name.startswith('fpn'):
        neck = (f'neck.{kind}_convs.{i}.conv' for kind in ('lateral', 'fpn') for i in range(4))
        # The doublings between the convolutions of a map have no tensors.
        places = ('0.0', '1.0', '2.0', '2.2', '3.0', '3.2', '3.4')
        head = (f'decode_head.scale_heads.{place}' for place in places)
        return with_bias(*neck, 'decode_head.conv_seg') | with_norm(*head)
    convs = [f'decode_head.psp_modules.{i}.1' for i in range(4)]
    convs += [f'decode_head.{kind}_convs.{i}' for kind in ('lateral', 'fpn') for i in range(3)]
    convs += ['decode_head.bottleneck', 'decode_head.fpn_bottleneck', 'auxiliary_head.convs.0']
    return with_norm(*convs) | with_bias('decode_head.conv_seg', 'auxiliary_head.conv_seg')


def build(name: str, device: str = 'cpu'):
    with DefaultScope.overwrite_default_scope('mmseg'), torch.device(device):
        return MODELS.build(dict(load_config(CONFIGS / f'{name}.py').model))


def write_mmseg0(path, model, **more) -> None:
    """Write a checkpoint as mmcv 1 does for mmseg 0."""
    info = ADE20KDataset.METAINFO
    meta = dict(
        mmseg_version='0.29.1+4cbb3a8',
        CLASSES=tuple(info['classes']),
        PALETTE=list(info['palette']),
        config="model = dict(type='EncoderDecoder', backbone=dict(type='MogaNet_feat', arch='xtiny'))",
        env_info='sys.platform: linux',
        seed=1234,
        exp_name='x.py',
        epoch=64,
        iter=80000,
        mmcv_version='1.7.0',
        time='Sun Nov 20 10:00:00 2022',
        hook_msgs={},
    )
    torch.save(dict(meta=meta, state_dict=model.state_dict(), **more), path)


@pytest.fixture
def ade(tmp_path):
    """Write two photographs with label maps in the layout of ADE20K."""
    root = tmp_path / 'ade'
    rng = np.random.default_rng(0)
    for kind in ('images', 'annotations'):
        (root / kind / 'validation').mkdir(parents=True)
    for i in (1, 2):
        name = f'ADE_val_{i:08d}'
        Image.fromarray(rng.integers(0, 256, (48, 64, 3), np.uint8)).save(root / f'images/validation/{name}.jpg')
        Image.fromarray(rng.integers(0, 151, (48, 64), np.uint8)).save(root / f'annotations/validation/{name}.png')
    return root


def small_images(ade):
    return [
        '--cfg-options',
        f'data_root={ade}',
        'test_dataloader.dataset.pipeline.1.scale=(128,64)',
        'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False',
    ]


def test_every_released_segmentor_has_the_name_of_its_config():
    configs = {path.stem for path in CONFIGS.glob('*.py')}
    assert len(RELEASED) == 10  # not XL
    assert {row.name.removeprefix('seg/') for row in RELEASED} < configs
    assert {(row.gate, row.layout) for row in RELEASED} == {('single', 'openmmlab')}
    folder = 'https://github.com/Westlake-AI/MogaNet/releases/download/moganet-seg-weights/'
    assert {row.url.rsplit('/', 1)[0] + '/' for row in RELEASED} == {folder}


@pytest.mark.parametrize(
    ('name', 'file'),
    [
        ('fpn_moganet_xt', 'fpn_moganet_xtiny_80k_ade20k.pth'),
        ('fpn_moganet_l', 'fpn_moganet_large_80k_ade20k.pth'),
        ('upernet_moganet_s', 'upernet_moganet_small_512x512_160k_ade20k.pth'),
    ],
)
def test_names_mean_the_released_files(name, file):
    assert find_weights(f'moganet://seg/{name}').file == file


@for_each(RELEASED)
def test_tensors_have_the_names_of_mmseg_0(row):
    name = row.name.removeprefix('seg/')
    names = set(build(name, 'meta').state_dict())
    backbone = {key for key in names if key.startswith('backbone.')}
    assert names - backbone == mmseg0_names(name)
    assert load_config(CONFIGS / f'{name}.py').model.backbone.arch == row.arch
    # 36 per block, 14 in the stem, 7 in each later embedding, 5 in each stage's norm.
    assert len(backbone) == 36 * sum(ARCHS[row.arch]['depths']) + 14 + 7 * 3 + 5 * 4


@pytest.mark.parametrize('name', ['fpn_moganet_xt', 'upernet_moganet_xt'])
def test_file_of_mmseg_0_is_tested_by_its_name(name, weights, ade, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = build(name)
    for key, value in model.state_dict().items():
        if key.endswith('running_mean'):
            value.normal_()
    write_mmseg0(weights / find_weights(f'seg/{name}').file, model, optimizer=dict(state={}, param_groups=[]))
    call(
        'test',
        CONFIGS / f'{name}.py',
        f'moganet://seg/{name}',
        '--work-dir',
        'run',
        '--out',
        'found.pkl',
        *small_images(ade),
    )
    found = pickle.loads((tmp_path / 'found.pkl').read_bytes())  # noqa: S301  written just above

    cfg = load_config(CONFIGS / f'{name}.py', dict(data_root=str(ade)))
    cfg.test_dataloader.dataset.pipeline[1].scale = (128, 64)
    same = build(name).eval()
    same.load_state_dict(model.state_dict())
    with DefaultScope.overwrite_default_scope('mmseg'):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    assert len(found) == len(dataset) == 2
    for i, prediction in enumerate(found):
        sample = dataset[i]
        with torch.no_grad():
            (expected,) = same.test_step(dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']]))
        assert torch.allclose(prediction['seg_logits']['data'], expected.seg_logits.data, atol=1e-4)
    (written,) = (tmp_path / 'run').glob('*/*.json')
    assert {'mIoU', 'mAcc', 'aAcc'} <= set(json.loads(written.read_text()))


def test_metrics_of_a_test_stand_beside_the_table(tmp_path, capsys):
    name = 'fpn_moganet_t'
    written = tmp_path / f'results/{name}/20260101_000000/20260101_000000.json'
    written.parent.mkdir(parents=True)
    one_row('seg', tmp_path, name)
    arguments = ('--root', tmp_path, '--task', 'seg', '--results', tmp_path / 'results')
    for miou, code in ((43.4, 0), (42.5, 1)):
        written.write_text(json.dumps({'aAcc': 80.0, 'mIoU': miou, 'mAcc': 55.0}))
        assert run_tool('paper_tables', *arguments) == code
        out = capsys.readouterr().out
        line = next(line for line in out.splitlines() if line.startswith(name))
        assert [float(word) for word in line.replace('MISMATCH', '').split()[-4:]] == [43.1, miou, 55.4, 55.0]
        assert ('MISMATCH fpn_moganet_t: mIoU is 43.1 in README, 42.5' in out) == bool(code)


@pytest.mark.parametrize('change', ['lost', 'added', 'auxiliary', 'classes', 'size', 'code'])
def test_file_that_does_not_fit_is_refused(change, tmp_path):
    model, path = build('upernet_moganet_xt'), tmp_path / 'weights.pth'
    state, more, marker = model.state_dict(), {}, tmp_path / 'ran'
    if change == 'lost':
        del state['decode_head.psp_modules.2.1.bn.running_var']
    elif change == 'added':
        state['neck.lateral_convs.0.conv.weight'] = torch.zeros(1)
    elif change == 'auxiliary':
        state = {key: value for key, value in state.items() if not key.startswith('auxiliary_head.')}
    elif change == 'classes':
        state['decode_head.conv_seg.weight'] = torch.zeros(19, 512, 1, 1)
        state['decode_head.conv_seg.bias'] = torch.zeros(19)
    elif change == 'size':
        state = {key: value for key, value in state.items() if 'blocks3.9' not in key}
    else:
        more['hook'] = command(marker)
    torch.save(dict(meta=dict(CLASSES=('a', 'b')), state_dict=state, **more), path)
    words = dict(
        lost='1 missing: decode_head.psp_modules.2.1.bn.running_var',
        added='1 left over: neck.lateral_convs.0.conv.weight',
        auxiliary='7 missing: auxiliary_head.conv_seg.bias',  # 8, without the number of batches, which is not needed
        classes='another number of classes',
        size='set arch to that of the file',
        code='holds more than data',
    )
    with pytest.raises(ValueError, match=words[change]):
        load_model(model, path)
    assert not marker.exists()


@pytest.mark.weights
@pytest.mark.parametrize('row', RELEASED, ids=[row.name for row in RELEASED])
def test_released_file_loads_whole(row):
    if not os.path.exists(os.path.join(os.environ['MOGANET_WEIGHTS'], row.file)):
        pytest.skip(f'{row.file} is not in MOGANET_WEIGHTS')
    name = row.name.removeprefix('seg/')
    model = build(name)
    total = len(model.state_dict())
    assert f'loaded {total} of {total} tensors' in load_model(model, f'moganet://{row.name}')
    assert sum(p.numel() for p in model.parameters()) == count(load_config(CONFIGS / f'{name}.py')).parameters
