"""The mini data: mmdet's classes read them as COCO, and the annotations fit the pictures."""

import json

import numpy as np
import pytest
import torch
from mmdet.registry import DATASETS, METRICS
from mmengine.config import Config
from pycocotools.coco import COCO

from helpers.tool_runs import ROOT
from mogadet import mini, polygons
from moganet.run.config import load_config

NUM_IMAGES = dict(train=24, val=12)


@pytest.fixture
def root(mini_det):
    return mini_det


def content(root, split):
    return json.loads((root / f'annotations/instances_{split}2017.json').read_text())


def datasets(root, split, **options):
    mask = dict(type='mmdet.LoadAnnotations', with_bbox=True, with_mask=True)
    pipeline = [dict(type='LoadImageFromFile'), mask, dict(type='mmdet.PackDetInputs')]
    return DATASETS.build(
        dict(
            type='mmdet.CocoDataset',
            data_root=str(root),
            ann_file=f'annotations/instances_{split}2017.json',
            data_prefix=dict(img=f'{split}2017'),
            metainfo=dict(classes=mini.CLASSES),
            pipeline=pipeline,
            **options,
        )
    )


def test_defaults_are_200_and_50_images_of_10_classes():
    assert dict(train=200, val=50) == mini.NUM_IMAGES
    assert len(mini.CLASSES) == 10


@pytest.mark.parametrize('split', NUM_IMAGES)
def test_the_real_data_set_reads_every_image(root, split):
    dataset = datasets(root, split)
    assert len(dataset) == NUM_IMAGES[split]
    found = 0
    for sample in dataset:
        height, width = sample['inputs'].shape[1:]
        instances = sample['data_samples'].gt_instances
        boxes = instances.bboxes.tensor
        assert instances.masks.masks.shape == (len(boxes), height, width)
        assert (boxes[:, :2] >= 0).all()
        assert (boxes[:, 2] <= width).all()
        assert (boxes[:, 3] <= height).all()
        found += len(boxes) + len(sample['data_samples'].ignored_instances)
    assert found == len(content(root, split)['annotations'])


def test_crowds_are_rle_and_ignored(root):
    crowds = [a for split in NUM_IMAGES for a in content(root, split)['annotations'] if a['iscrowd']]
    assert crowds
    for crowd in crowds:
        assert sum(crowd['segmentation']['counts']) == np.prod(crowd['segmentation']['size'])
        assert sum(crowd['segmentation']['counts'][1::2]) == crowd['area']
    ignored = sum(len(s['data_samples'].ignored_instances) for split in NUM_IMAGES for s in datasets(root, split))
    assert ignored == len(crowds)


def test_masks_are_what_the_annotation_says_and_never_overlap(root):
    coco = COCO(str(root / 'annotations/instances_train2017.json'))
    for image_id in coco.imgs:
        annotations = coco.imgToAnns[image_id]
        masks = np.array([coco.annToMask(a) for a in annotations])
        # Polygons are rounded to half a pixel, so neighbours may share their border only.
        overlap = (masks.sum(0) > 1).sum()
        assert overlap <= 0.06 * masks.sum()
        for mask, annotation in zip(masks, annotations, strict=True):
            rows, columns = np.nonzero(mask)
            left, top, width, height = annotation['bbox']
            traced = columns.min(), rows.min(), columns.max() + 1, rows.max() + 1
            assert np.abs(np.subtract(traced, (left, top, left + width, top + height))).max() <= 2
            assert mask.sum() == pytest.approx(annotation['area'], rel=0.15)


def test_truth_as_prediction_scores_100(root):
    """mmdet's metric is perfect for the annotations as predictions."""
    metric = METRICS.build(
        dict(
            type='mmdet.CocoMetric',
            ann_file=str(root / 'annotations/instances_val2017.json'),
            metric=['bbox', 'segm'],
        )
    )
    dataset = datasets(root, 'val')
    metric.dataset_meta = dataset.metainfo
    for sample in dataset:
        truth = sample['data_samples'].gt_instances
        predicted = dict(
            bboxes=truth.bboxes.tensor,
            labels=truth.labels,
            scores=torch.ones(len(truth)),
            masks=torch.from_numpy(truth.masks.masks).bool(),
        )
        sample = dict(sample['data_samples'].to_dict(), pred_instances=predicted)
        metric.process({}, [sample])
    scores = metric.evaluate(len(dataset))
    assert scores['coco/bbox_mAP'] == pytest.approx(1)
    assert scores['coco/segm_mAP'] == pytest.approx(1)


def test_the_same_seed_gives_the_same_bytes(root, tmp_path, monkeypatch):
    monkeypatch.setattr(mini, 'NUM_IMAGES', NUM_IMAGES)
    mini.make(tmp_path / 'again')
    files = sorted(path.relative_to(root) for path in root.rglob('*') if path.is_file())
    assert len(files) == sum(NUM_IMAGES.values()) + 2
    assert [f for f in files if (root / f).read_bytes() != (tmp_path / 'again' / f).read_bytes()] == []


def test_a_complete_folder_is_left_alone_and_another_one_too(root, tmp_path, monkeypatch):
    monkeypatch.setattr(mini, 'NUM_IMAGES', dict(train=2, val=1))
    folder = tmp_path / 'det'
    (folder / 'train2017').mkdir(parents=True)
    (folder / 'train2017/mine.jpg').touch()
    with pytest.raises(ValueError, match='det exists and is something else'):
        mini.make(folder)
    (folder / 'train2017/mine.jpg').unlink()
    (folder / 'train2017').rmdir()
    mini.make(folder)
    assert sorted(p.name for p in folder.glob('*/*.jpg')) == [
        '000000000001.jpg',
        '000000000001.jpg',
        '000000000002.jpg',
    ]
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*')}
    mini.make(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob('*')} == before
    assert [path.name for path in tmp_path.iterdir()] == ['det']


def test_polygons_keep_holes_and_parts():
    mask = np.zeros((40, 50), bool)
    mask[5:30, 5:30] = True
    mask[10:15, 10:25] = mask[20:26, 12:18] = False  # two holes
    mask[33:38, 35:48] = True  # a separate component
    coco = COCO()
    coco.imgs = {1: dict(height=40, width=50)}
    found = polygons.polygons(mask)
    assert len(found) == 2
    drawn = coco.annToMask(dict(image_id=1, segmentation=found)).astype(bool)
    assert (drawn & mask).sum() / (drawn | mask).sum() > 0.95
    assert not drawn[11:14, 12:23].any()
    assert not drawn[22:24, 14:16].any()


@pytest.mark.parametrize('corner', [False, True])
def test_run_lengths_are_cocos(corner):
    mask = np.random.RandomState(0).rand(7, 5) > 0.5
    mask[0, 0] = mask[-1, -1] = corner
    drawn = COCO()
    drawn.imgs = {1: dict(height=7, width=5)}
    assert (drawn.annToMask(dict(image_id=1, segmentation=polygons.run_lengths(mask))) == mask).all()


def test_use_points_any_recipe_at_the_mini_data(root, monkeypatch):
    cfg = load_config(ROOT / 'configs/det/mask_rcnn_moganet_xt.py')
    mini.use(cfg, str(root))
    assert (cfg.model.roi_head.bbox_head.num_classes, cfg.model.roi_head.mask_head.num_classes) == (10, 10)
    assert cfg.train_dataloader.dataset.ann_file == 'annotations/instances_train2017.json'
    assert cfg.val_evaluator.ann_file == str(root / 'annotations/instances_val2017.json')
    assert cfg.val_evaluator.metric == ['bbox', 'segm']
    resize = next(step for step in cfg.train_dataloader.dataset.pipeline if step['type'] == 'Resize')
    assert resize['scale'] == (267, 160)
    assert resize['keep_ratio']
    dataset = DATASETS.build(dict(cfg.train_dataloader.dataset, _scope_='mmdet'))
    assert dataset.metainfo['classes'] == mini.CLASSES
    assert max(dataset[0]['inputs'].shape[1:]) <= 267


def test_use_reaches_wrapped_data_sets_and_other_formats(root):
    voc = dict(
        type='VOCDataset',
        data_root='x',
        ann_file='VOC2007/ImageSets/Main/train.txt',
        data_prefix=dict(sub_data_root='VOC2007/'),
        pipeline=['kept'],
    )
    cfg = Config(
        dict(
            model=dict(bbox_head=[dict(num_classes=20)] * 2),
            train_dataloader=dict(dataset=dict(type='RepeatDataset', times=3, dataset=voc)),
            val_dataloader=dict(dataset=voc),
            val_evaluator=dict(type='VOCMetric', metric='mAP', eval_mode='11points'),
        )
    )
    mini.use(cfg, str(root))
    inner = cfg.train_dataloader.dataset.dataset
    assert (inner.type, inner.data_root, inner.pipeline) == ('CocoDataset', str(root), ['kept'])
    assert cfg.train_dataloader.dataset.times == 3
    assert 'val2017' in cfg.val_dataloader.dataset.ann_file
    assert (cfg.val_evaluator.type, cfg.val_evaluator.metric) == ('CocoMetric', 'bbox')
    assert [head.num_classes for head in cfg.model.bbox_head] == [10, 10]
