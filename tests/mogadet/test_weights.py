"""Released detectors: mmdet 2's files load by name, whole and safely, and their metrics stand beside the table."""

import json
import os
import pickle

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmdet.registry import DATASETS, MODELS
from mmengine.registry import DefaultScope
from PIL import Image

from helpers.cases import for_each
from helpers.checkpoint_files import command
from helpers.tool_runs import ROOT, call, one_row, run_tool
from mogadet.complexity import count
from moganet.arch import ARCHS
from moganet.checkpoint import find_weights, list_weights, load_model
from moganet.run.config import load_config

CONFIGS = ROOT / 'configs/det'
RELEASED = [row for row in list_weights() if row.name.startswith('det/')]
# Names of mmdet 2.26.
MASK_HEAD = [*(f'convs.{i}.conv' for i in range(4)), 'upsample', 'conv_logits']
NORM = ('weight', 'bias', 'running_mean', 'running_var', 'num_batches_tracked')


def both(*modules: str) -> set[str]:
    return {f'{module}.{what}' for module in modules for what in ('weight', 'bias')}


def fpn(laterals: int, outputs: int) -> set[str]:
    return both(
        *(f'neck.lateral_convs.{i}.conv' for i in range(laterals)),
        *(f'neck.fpn_convs.{i}.conv' for i in range(outputs)),
    )


def mmdet2_names(name: str) -> set[str]:
    """Return mmdet 2.26's names of a detector's tensors outside the backbone."""
    if name.startswith('retinanet'):
        towers = both(*(f'bbox_head.{kind}_convs.{i}.conv' for kind in ('cls', 'reg') for i in range(4)))
        return fpn(3, 5) | towers | both('bbox_head.retina_cls', 'bbox_head.retina_reg')
    names = fpn(4, 4) | both('rpn_head.rpn_conv', 'rpn_head.rpn_cls', 'rpn_head.rpn_reg')
    box, mask = 'roi_head.bbox_head', 'roi_head.mask_head'
    stages = [f'.{stage}' for stage in range(3)] if name.startswith('cascade') else ['']
    for stage in stages:
        names |= both(f'{box}{stage}.fc_cls', f'{box}{stage}.fc_reg', f'{box}{stage}.shared_fcs.0')
        names |= both(*(f'{mask}{stage}.{module}' for module in MASK_HEAD))
        if 'giou' not in name:
            names |= both(f'{box}{stage}.shared_fcs.1')
            continue
        for i in range(4):
            names |= {f'{box}{stage}.shared_convs.{i}.conv.weight'}
            names |= {f'{box}{stage}.shared_convs.{i}.bn.{what}' for what in NORM}
    return names


def build(cfg, device='cpu'):
    with DefaultScope.overwrite_default_scope('mmdet'), torch.device(device):
        return MODELS.build(dict(cfg.model))


def write_mmdet2(path, model, **more) -> None:
    """Write a checkpoint as mmcv 1 does for mmdet 2."""
    meta = dict(
        mmdet_version='2.26.0+31c8495',
        CLASSES=CocoDataset.METAINFO['classes'],
        PALETTE=list(CocoDataset.METAINFO['palette']),
        env_info='sys.platform: linux',
        seed=0,
        exp_name='x.py',
        config="model = dict(type='MaskRCNN', backbone=dict(type='MogaNet_feat', arch='xtiny'))",
        epoch=12,
        iter=87960,
        mmcv_version='1.7.0',
        time='Sun Nov 20 10:00:00 2022',
        hook_msgs={},
    )
    torch.save(dict(meta=meta, state_dict=model.state_dict(), **more), path)


@pytest.fixture
def coco(tmp_path):
    """Write two images with a box each in the layout of COCO, with all of its 80 classes."""
    root = tmp_path / 'coco'
    (root / 'val2017').mkdir(parents=True)
    (root / 'annotations').mkdir()
    rng = np.random.default_rng(0)
    for i in (1, 2):
        pixels = rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / f'val2017/{i}.jpg')
    content = dict(
        images=[dict(id=i, file_name=f'{i}.jpg', height=48, width=64) for i in (1, 2)],
        categories=[dict(id=i, name=name) for i, name in enumerate(CocoDataset.METAINFO['classes'], start=1)],
        annotations=[
            dict(
                id=i,
                image_id=i,
                category_id=i,
                iscrowd=0,
                area=400,
                bbox=[10, 10, 20, 20],
                segmentation=[[10, 10, 30, 10, 30, 30, 10, 30]],
            )
            for i in (1, 2)
        ],
    )
    (root / 'annotations/instances_val2017.json').write_text(json.dumps(content))
    return root


def small_images(coco):
    return [
        '--cfg-options',
        f'data_root={coco}',
        'test_dataloader.dataset.pipeline.1.scale=(128,96)',
        'test_dataloader.num_workers=0',
        'test_dataloader.persistent_workers=False',
    ]


def test_every_released_detector_has_the_name_of_its_config():
    configs = {path.stem for path in CONFIGS.glob('*.py')}
    assert len(RELEASED) == 17  # of 18 configs: the weights of Cascade-L are not published
    assert {row.name.removeprefix('det/') for row in RELEASED} < configs
    assert 'det/cascade_mask_rcnn_moganet_l_giou_ms3x' not in {row.name for row in RELEASED}
    assert {(row.gate, row.layout) for row in RELEASED} == {('single', 'openmmlab')}
    folder = 'https://github.com/Westlake-AI/MogaNet/releases/download/moganet-det-weights/'
    assert {row.url.rsplit('/', 1)[0] + '/' for row in RELEASED} == {folder}


@for_each(
    [
        ('retinanet_moganet_xt', 'retinanet_moganet_xtiny_fpn_1x_coco.pth'),
        ('mask_rcnn_moganet_s', 'mask_rcnn_moganet_small_fpn_1x_coco.pth'),
        ('mask_rcnn_moganet_l_ms3x', 'mask_rcnn_moganet_l_fpn_mstrain_480-800_3x_coco.pth'),
        ('cascade_mask_rcnn_moganet_s_ms3x', 'cascade_mask_rcnn_moganet_s_fpn_ms_3x_coco.pth'),
        ('cascade_mask_rcnn_moganet_b_giou_ms3x', 'cascade_mask_rcnn_moganet_b_fpn_giou_4conv1f_ms_3x_coco.pth'),
    ]
)
def test_names_mean_the_released_files(name, file):
    assert find_weights(f'moganet://det/{name}').file == file


@for_each(RELEASED)
def test_tensors_have_the_names_of_mmdet_2(row):
    name = row.name.removeprefix('det/')
    cfg = load_config(CONFIGS / f'{name}.py')
    names = set(build(cfg, 'meta').state_dict())
    backbone = {key for key in names if key.startswith('backbone.')}
    assert names - backbone == mmdet2_names(name)
    assert cfg.model.backbone.arch == row.arch
    # 36 per block, 14 in the stem, 7 in each later embedding, 5 in each stage's norm.
    assert len(backbone) == 36 * sum(ARCHS[row.arch]['depths']) + 14 + 7 * 3 + 5 * 4


@pytest.mark.parametrize('name', ['retinanet_moganet_xt', 'mask_rcnn_moganet_xt'])
def test_file_of_mmdet_2_is_tested_by_its_name(name, weights, coco, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    row = find_weights(f'det/{name}')
    cfg = load_config(CONFIGS / f'{name}.py')
    model = build(cfg)
    write_mmdet2(weights / row.file, model, optimizer=dict(state={}, param_groups=[]))
    rcnn = '' if name.startswith('retina') else 'rcnn.'
    low = f'model.test_cfg.{rcnn}score_thr=0.0'
    call(
        'test',
        CONFIGS / f'{name}.py',
        f'moganet://det/{name}',
        '--work-dir',
        'run',
        '--out',
        'found.pkl',
        *small_images(coco),
        low,
    )
    found = pickle.loads((tmp_path / 'found.pkl').read_bytes())  # noqa: S301  written just above

    cfg = load_config(CONFIGS / f'{name}.py', dict(data_root=str(coco)))
    (cfg.model.test_cfg.get('rcnn') or cfg.model.test_cfg).score_thr = 0.0
    cfg.test_dataloader.dataset.pipeline[1].scale = (128, 96)
    same = build(cfg).eval()
    same.load_state_dict(model.state_dict())
    with DefaultScope.overwrite_default_scope('mmdet'):
        dataset = DATASETS.build(cfg.test_dataloader.dataset)
    for i, prediction in enumerate(found):
        sample = dataset[i]
        with torch.no_grad():
            (expected,) = same.test_step(dict(inputs=[sample['inputs']], data_samples=[sample['data_samples']]))
        assert len(expected.pred_instances) > 10
        for key in ('bboxes', 'scores', 'labels'):
            assert torch.allclose(prediction['pred_instances'][key].float(), expected.pred_instances[key].float())


def test_metrics_of_a_test_stand_beside_the_table(weights, coco, tmp_path, monkeypatch, capsys):
    name = 'retinanet_moganet_xt'
    row = find_weights(f'det/{name}')
    write_mmdet2(weights / row.file, build(load_config(CONFIGS / f'{name}.py')))
    monkeypatch.chdir(tmp_path)
    call('test', CONFIGS / f'{name}.py', f'moganet://det/{name}', '--work-dir', f'results/{name}', *small_images(coco))
    (written,) = (tmp_path / 'results' / name).glob('*/*.json')
    metrics = json.loads(written.read_text())
    assert {'coco/bbox_mAP', 'coco/bbox_mAP_50', 'coco/bbox_mAP_l'} <= set(metrics)

    one_row('det', tmp_path, name)
    for ap, code in ((0.397, 0), (0.39, 1)):
        measured = {'': ap, '_50': 0.6, '_75': 0.424, '_s': 0.238, '_m': 0.436, '_l': 0.517}
        written.write_text(json.dumps(metrics | {f'coco/bbox_mAP{kind}': value for kind, value in measured.items()}))
        assert run_tool('paper_tables', '--root', tmp_path, '--task', 'det', '--results', 'results') == code
        line = next(line for line in capsys.readouterr().out.splitlines() if line.startswith(name))
        assert line.split()[-12:-10] == ['39.7', f'{100 * ap:.4g}'] if not code else 'MISMATCH' in line


def test_released_detectors_measure_at_both_tasks():
    """CocoMetric reports every metric of the metafile for the config."""
    from moganet.paper.metafile import rows

    for row in rows('det'):
        metric = load_config(ROOT / row.config).test_evaluator.metric
        kinds = {metric} if isinstance(metric, str) else set(metric)
        assert {row.metrics[field].key.split('/')[1].split('_')[0] for field in row.numbers if 'AP' in field} == kinds
        assert {row.metrics[field].scale for field in row.metrics} == {100}


@pytest.mark.parametrize('change', ['lost', 'added', 'classes', 'size', 'code'])
def test_file_that_does_not_fit_is_refused(change, tmp_path):
    cfg = load_config(CONFIGS / 'retinanet_moganet_xt.py')
    model, path = build(cfg), tmp_path / 'weights.pth'
    state, more, marker = model.state_dict(), {}, tmp_path / 'ran'
    if change == 'lost':
        del state['neck.fpn_convs.0.conv.bias']
    elif change == 'added':
        state['mask_head.conv.weight'] = torch.zeros(1)
    elif change == 'classes':
        state['bbox_head.retina_cls.weight'] = torch.zeros(9 * 10, 256, 3, 3)
        state['bbox_head.retina_cls.bias'] = torch.zeros(9 * 10)
    elif change == 'size':
        state = {key: value for key, value in state.items() if 'blocks3.9' not in key}
    else:
        more['hook'] = command(marker)
    torch.save(dict(meta=dict(CLASSES=('a', 'b')), state_dict=state, **more), path)
    words = dict(
        lost='1 missing: neck.fpn_convs.0.conv.bias',
        added='1 left over: mask_head.conv.weight',
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
    cfg = load_config(CONFIGS / f'{row.name.removeprefix("det/")}.py')
    model = build(cfg)
    total = len(model.state_dict())
    assert f'loaded {total} of {total} tensors' in load_model(model, f'moganet://{row.name}')
    assert sum(p.numel() for p in model.parameters()) == count(cfg).parameters
