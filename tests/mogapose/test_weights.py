"""Released pose estimators: files of mmpose 0 load by name, strictly and safely, and agree with the table."""

import json
import os
import pickle
from collections import OrderedDict

import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from mmpose.registry import DATASETS, MODELS

from helpers.cases import for_each
from helpers.checkpoint_files import command
from helpers.keypoint_files import box, write_boxes, write_people
from helpers.tool_runs import ROOT, call
from moganet.arch import ARCHS
from moganet.checkpoint import find_weights, list_weights, load_model
from moganet.paper.metafile import rows
from moganet.run.config import load_config
from mogapose.complexity import count

CONFIGS = ROOT / 'configs/pose'
RELEASED = [row for row in list_weights() if row.name.startswith('pose/')]
NAME = 'moganet_xt_256x192'
NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')
# Names of mmpose 0.29: a deconvolution, its norm and a ReLU three times, then the last convolution.
HEAD = {
    *(f'keypoint_head.deconv_layers.{i}.weight' for i in (0, 3, 6)),
    *(f'keypoint_head.deconv_layers.{i}.{what}' for i in (1, 4, 7) for what in NORM),
    *(f'keypoint_head.final_layer.{what}' for what in ('weight', 'bias')),
}


def build(cfg, device='cpu'):
    with DefaultScope.overwrite_default_scope('mmpose'), torch.device(device):
        return MODELS.build(dict(cfg.model))


def mmpose0_state(model, version: int | None = 1) -> OrderedDict:
    """The tensors of a model under mmpose 0's names, with the versions of modules that mmcv 1 wrote, or none."""
    found = OrderedDict()
    for name, value in model.state_dict().items():
        found[name.replace('head.', 'keypoint_head.', 1) if name.startswith('head.') else name] = value
    if version:
        names = {name.rsplit('.', 1)[0] for name in found} | {'', 'backbone', 'keypoint_head'}
        found._metadata = OrderedDict((name, dict(version=version)) for name in names)
    return found


def write_mmpose0(path, state, **more) -> None:
    """A checkpoint as mmcv 1 writes it for mmpose 0."""
    meta = dict(
        mmpose_version='0.29.0+unknown',
        env_info='sys.platform: linux',
        seed=0,
        exp_name='x.py',
        config="model = dict(type='TopDown', backbone=dict(type='MogaNet_feat', arch='xtiny'))",
        epoch=210,
        iter=122850,
        mmcv_version='1.7.0',
        time='Sun Nov 20 10:00:00 2022',
    )
    torch.save(dict(meta=meta, state_dict=state, **more), path)


@pytest.fixture
def coco(tmp_path):
    """Three images with a person each, two in the first, and a detector's boxes, of which one is a dog."""
    root = tmp_path / 'coco'
    write_people(root)
    boxes = [box(i, [9.5, 5.5, 30, 61], 0.5 + 0.1 * i) for i in range(1, 4)] + [box(1, [52, 4, 30, 60], 0.6)]
    write_boxes(root, [*boxes, box(2, [1, 1, 9, 9], category_id=18)])
    return root


def small_run(coco):
    return [
        '--cfg-options',
        f'data_root={coco}',
        'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False',
    ]


def test_every_recipe_has_released_weights_of_its_name():
    configs = {path.stem for path in CONFIGS.glob('*.py') if not path.stem.endswith('mini')}
    assert {row.name.removeprefix('pose/') for row in RELEASED} == configs
    assert {(row.gate, row.layout) for row in RELEASED} == {('single', 'openmmlab')}
    folder = 'https://github.com/Westlake-AI/MogaNet/releases/download/moganet-pose-weights/'
    assert {row.url.rsplit('/', 1)[0] + '/' for row in RELEASED} == {folder}
    assert find_weights('moganet://pose/moganet_b_384x288').file == 'moganet_b_coco_384x288.pth'
    assert {row.weights_name for row in rows('pose')} == {row.name for row in RELEASED}


@for_each(RELEASED)
def test_tensors_have_the_names_of_mmpose_0(row):
    cfg = load_config(CONFIGS / f'{row.name.removeprefix("pose/")}.py')
    names = set(mmpose0_state(build(cfg, 'meta')))
    backbone = {key for key in names if key.startswith('backbone.')}
    assert names - backbone == HEAD
    assert cfg.model.backbone.arch == row.arch
    # 36 per block, 14 in the stem, 7 in each later embedding, 5 in each stage's norm.
    assert len(backbone) == 36 * sum(ARCHS[row.arch]['depths']) + 14 + 7 * 3 + 5 * 4


@pytest.mark.parametrize('version', [1, None])
def test_report_counts_every_tensor(version, tmp_path):
    model = build(load_config(CONFIGS / f'{NAME}.py'))
    state = OrderedDict(
        (name, torch.rand(value.shape) if value.is_floating_point() else torch.tensor(9))
        for name, value in mmpose0_state(model).items()
    )
    if version:
        state._metadata = mmpose0_state(model, version)._metadata
    write_mmpose0(tmp_path / 'w.pth', state, optimizer=dict(state={}, param_groups=[]))
    total = 36 * 18 + 14 + 7 * 3 + 5 * 4 + len(HEAD)
    line = load_model(model, tmp_path / 'w.pth')
    assert line.startswith(f'loaded {total} of {total} tensors from {tmp_path}/w.pth')
    loaded = mmpose0_state(model)
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_file_of_mmpose_0_is_tested_by_its_name(weights, coco, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = build(load_config(CONFIGS / f'{NAME}.py'))
    write_mmpose0(weights / find_weights(f'pose/{NAME}').file, mmpose0_state(model), optimizer=dict(state={}))
    call(
        'test',
        CONFIGS / f'{NAME}.py',
        f'moganet://pose/{NAME}',
        '--work-dir',
        'run',
        '--out',
        'found.pkl',
        '--show-dir',
        'pictures',
        *small_run(coco),
    )
    found = pickle.loads((tmp_path / 'found.pkl').read_bytes())  # noqa: S301  written just above
    assert len(found) == 4  # the dog is skipped
    assert sorted(path.name for path in (tmp_path / 'pictures').iterdir()) == [
        '1_0.jpg',
        '1_1.jpg',
        '2_0.jpg',
        '3_0.jpg',
    ]

    cfg = load_config(CONFIGS / f'{NAME}.py', dict(data_root=str(coco)))
    with DefaultScope.overwrite_default_scope('mmpose'):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
        same = build(cfg).eval()
    same.load_state_dict(model.state_dict())
    for i, prediction in enumerate(found):
        with torch.no_grad():
            (expected,) = same.test_step(pseudo_collate([dataset[i]]))
        assert prediction['img_id'] == [1, 2, 3, 1][i]
        assert prediction['gt_instances']['bbox_scores'] == pytest.approx([[0.6, 0.7, 0.8, 0.6][i]])
        for key in ('keypoints', 'keypoint_scores'):
            assert prediction['pred_instances'][key] == pytest.approx(expected.pred_instances[key], abs=1e-4)


def test_metrics_of_a_test_are_those_of_the_table(weights, coco, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = build(load_config(CONFIGS / f'{NAME}.py'))
    write_mmpose0(weights / find_weights(f'pose/{NAME}').file, mmpose0_state(model))
    call('test', CONFIGS / f'{NAME}.py', f'moganet://pose/{NAME}', '--work-dir', f'results/{NAME}', *small_run(coco))
    (written,) = (tmp_path / 'results' / NAME).glob('*/*.json')
    measured = json.loads(written.read_text())
    for row in rows('pose'):
        fields = [field for field in row.numbers if field in row.metrics]
        assert fields == ['AP', 'AP50', 'AP75', 'AR', 'AR_M', 'AR_L']
        assert {row.metrics[field].key for field in fields} <= set(measured)
        assert {row.metrics[field].scale for field in fields} == {100}


@pytest.mark.parametrize('change', ['lost', 'added', 'joints', 'size', 'code'])
def test_file_that_does_not_fit_is_refused(change, tmp_path):
    model, path = build(load_config(CONFIGS / f'{NAME}.py')), tmp_path / 'weights.pth'
    state, more, marker = mmpose0_state(model), {}, tmp_path / 'ran'
    if change == 'lost':
        del state['keypoint_head.deconv_layers.3.weight']
    elif change == 'added':
        state['keypoint_head.deconv_layers.9.weight'] = torch.zeros(1)
    elif change == 'joints':
        state['keypoint_head.final_layer.weight'] = torch.zeros(14, 256, 1, 1)
        state['keypoint_head.final_layer.bias'] = torch.zeros(14)
    elif change == 'size':
        state = {key: value for key, value in state.items() if 'blocks3.9' not in key}
    else:
        more['hook'] = command(marker)
    write_mmpose0(path, state, **more)
    words = dict(
        lost='1 missing: head.deconv_layers.3.weight',
        added='1 left over: head.deconv_layers.9.weight',
        joints=r'head.final_layer.weight.*\[14, 256, 1, 1\].*\[17, 256, 1, 1\]',
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
    cfg = load_config(CONFIGS / f'{row.name.removeprefix("pose/")}.py')
    model = build(cfg)
    total = len(model.state_dict())
    assert f'loaded {total} of {total} tensors' in load_model(model, f'moganet://{row.name}')
    assert sum(p.numel() for p in model.parameters()) == count(cfg).parameters
