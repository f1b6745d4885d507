"""The mini data: mmseg's classes read them as ADE20K, and the maps fit the pictures."""

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmseg.evaluation import IoUMetric
from mmseg.registry import DATASETS
from PIL import Image

from helpers.tool_runs import ROOT
from moganet.mini import scenes
from moganet.run import smoke
from moganet.run.config import load_config
from mogaseg import mini

NUM_IMAGES = dict(training=24, validation=12)


def maps(root, split):
    return [np.asarray(Image.open(path)) for path in sorted(root.glob(f'annotations/{split}/*.png'))]


def dataset(root, split, **options):
    with DefaultScope.overwrite_default_scope('mmseg'):
        return DATASETS.build(
            dict(
                type='BaseSegDataset',
                data_root=str(root),
                data_prefix=dict(img_path=f'images/{split}', seg_map_path=f'annotations/{split}'),
                reduce_zero_label=True,
                metainfo=dict(classes=mini.CLASSES, palette=mini.PALETTE),
                pipeline=[dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')],
                **options,
            )
        )


def test_defaults_are_1000_and_50_images_of_background_and_ten_digits():
    assert dict(training=1000, validation=50) == mini.NUM_IMAGES
    assert len(mini.CLASSES) == len(mini.PALETTE) == 11
    assert mini.CLASSES[0] == 'background'
    assert mini.CLASSES[8] == 'seven'
    assert len({tuple(colour) for colour in mini.PALETTE}) == 11


@pytest.mark.parametrize('split', NUM_IMAGES)
def test_the_real_data_set_reads_every_image_and_map(mini_seg, split):
    data = dataset(mini_seg, split)
    assert len(data) == NUM_IMAGES[split]
    seen = set()
    for sample in data:
        labels = sample['data_samples'].gt_sem_seg.data[0]
        assert labels.shape == sample['inputs'].shape[1:]
        seen |= set(labels.unique().tolist())
    assert seen == {*range(11), 255}


def test_maps_are_one_channel_of_8_bits(mini_seg):
    for path in mini_seg.rglob('*.png'):
        with Image.open(path) as image:
            assert image.mode == 'L'


def thing(label, rows, columns, crowd=False):
    mask = np.zeros((40, 60), bool)
    mask[slice(*rows), slice(*columns)] = True
    return scenes.SceneObject(label, mask, crowd)


def test_labels_are_those_of_ade20k_with_a_rim_that_is_unlabelled():
    scene = scenes.Scene(np.zeros((40, 60, 3), np.float32), np.random.RandomState(0))
    scene.objects = [
        thing(7, (10, 20), (10, 30)),
        thing(0, (25, 35), (40, 55)),
        thing(3, (25, 35), (5, 15), crowd=True),
    ]
    labels = mini.label_map(scene)
    assert labels.dtype == np.uint8
    assert labels[0, 0] == 1
    assert (labels[11:19, 11:29] == 9).all()
    assert (labels[26:34, 41:54] == 2).all()
    assert (labels[9:11, 12:28] == 0).all()
    assert (labels[12:18, 29:31] == 0).all()
    assert labels[8, 20] == 1
    assert labels[15, 31] == 1
    assert (labels[25:35, 5:15] == 0).all()  # a crowd
    assert set(np.unique(labels)) == {0, 1, 2, 9}


def test_most_of_an_image_is_labelled(mini_seg):
    for split in NUM_IMAGES:
        everything = np.concatenate([labels.ravel() for labels in maps(mini_seg, split)])
        shares = np.bincount(everything, minlength=12) / everything.size
        assert 0.02 < shares[0] < 0.12
        assert 0.6 < shares[1] < 0.85
        assert (shares[2:] > 0.002).all()


def test_images_are_those_of_mini_coco(tmp_path, monkeypatch):
    from mogadet import mini as det

    monkeypatch.setattr(mini, 'NUM_IMAGES', dict(training=3, validation=2))
    monkeypatch.setattr(det, 'NUM_IMAGES', dict(train=3, val=2))
    mini.make(tmp_path / 'seg')
    det.make(tmp_path / 'det')
    for split, other in (('training', 'train2017'), ('validation', 'val2017')):
        ours = [path.read_bytes() for path in sorted((tmp_path / 'seg/images' / split).iterdir())]
        assert ours == [path.read_bytes() for path in sorted((tmp_path / 'det' / other).iterdir())]


def test_truth_as_prediction_scores_100(mini_seg):
    """mmseg's metric is perfect for the maps as predictions."""
    metric = IoUMetric()
    data = dataset(mini_seg, 'validation')
    metric.dataset_meta = data.metainfo
    for sample in data:
        truth = sample['data_samples'].gt_sem_seg.data
        guess = torch.where(truth == 255, 0, truth)
        metric.process({}, [dict(gt_sem_seg=dict(data=truth), pred_sem_seg=dict(data=guess))])
    scores = metric.evaluate(len(data))
    assert (scores['mIoU'], scores['mAcc']) == (100, 100)


def test_the_same_seed_gives_the_same_bytes(mini_seg, tmp_path, monkeypatch):
    monkeypatch.setattr(mini, 'NUM_IMAGES', NUM_IMAGES)
    mini.make(tmp_path / 'again')
    files = sorted(path.relative_to(mini_seg) for path in mini_seg.rglob('*') if path.is_file())
    assert len(files) == 2 * sum(NUM_IMAGES.values())
    assert [f for f in files if (mini_seg / f).read_bytes() != (tmp_path / 'again' / f).read_bytes()] == []


def test_a_complete_folder_is_left_alone_and_another_one_too(tmp_path, monkeypatch):
    monkeypatch.setattr(mini, 'NUM_IMAGES', dict(training=2, validation=1))
    folder = tmp_path / 'seg'
    (folder / 'images').mkdir(parents=True)
    (folder / 'images/mine.jpg').touch()
    with pytest.raises(ValueError, match='seg exists and is something else'):
        mini.make(folder)
    (folder / 'images/mine.jpg').unlink()
    (folder / 'images').rmdir()
    assert '2 training and 1 validation photographs' in mini.make(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*')}
    assert sum(path.is_file() for path in before) == 6
    mini.make(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob('*')} == before
    assert [path.name for path in tmp_path.iterdir()] == ['seg']


@pytest.mark.parametrize('name', ['fpn_moganet_xt', 'upernet_moganet_xt'])
def test_use_points_any_recipe_at_the_mini_data(name, mini_seg, monkeypatch):
    monkeypatch.setattr(mini, 'NUM_IMAGES', NUM_IMAGES)
    cfg = load_config(ROOT / f'configs/seg/{name}.py')
    mini.use(cfg, str(mini_seg))
    assert cfg.model.decode_head.num_classes == 11
    assert cfg.model.get('auxiliary_head', dict(num_classes=11))['num_classes'] == 11
    assert cfg.model.data_preprocessor['size'] == (128, 128)
    steps = {step['type']: step for step in cfg.train_dataloader.dataset.pipeline}
    assert steps['RandomCrop']['crop_size'] == (128, 128)
    assert steps['RandomCrop']['cat_max_ratio'] == 0.75
    assert steps['RandomResize']['scale'] == (512, 128)
    assert steps['RandomResize']['ratio_range'] == (0.5, 2.0)
    with DefaultScope.overwrite_default_scope('mmseg'):
        train, val = DATASETS.build(cfg.train_dataloader.dataset), DATASETS.build(cfg.val_dataloader.dataset)
    assert (len(train), len(val)) == (24, 12)
    assert train[0]['inputs'].shape[1:] == (128, 128)
    assert val.metainfo['palette'] == mini.PALETTE
    height, width = val[0]['inputs'].shape[1:]
    assert min(height, width) == 128


def test_use_reaches_wrapped_data_sets_other_types_and_sliding_windows(mini_seg, monkeypatch):
    monkeypatch.setattr(mini, 'NUM_IMAGES', NUM_IMAGES)
    resize = dict(type='RandomChoiceResize', scales=[256, 512], resize_type='ResizeShortestEdge', max_size=2048)
    load = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations', reduce_zero_label=False), resize]
    city = dict(
        type='CityscapesDataset',
        data_root='x',
        pipeline=load,
        data_prefix=dict(img_path='leftImg8bit/train', seg_map_path='gtFine/train'),
    )
    cfg = Config(
        dict(
            model=dict(
                decode_head=[dict(num_classes=19), dict(num_classes=19, loss=dict(class_weight=[2.0] * 19 + [0.1]))],
                test_cfg=dict(mode='slide', crop_size=(768, 768), stride=(512, 512)),
            ),
            train_dataloader=dict(dataset=dict(type='RepeatDataset', times=3, dataset=city)),
            val_dataloader=dict(dataset=dict(city, test_mode=True)),
            tta_pipeline=None,
        )
    )
    mini.use(cfg, str(mini_seg))
    inner = cfg.train_dataloader.dataset.dataset
    assert (inner.type, inner.data_root, inner.reduce_zero_label) == ('BaseSegDataset', str(mini_seg), True)
    assert 'reduce_zero_label' not in inner.pipeline[1]
    assert (inner.pipeline[2]['scales'], inner.pipeline[2]['max_size']) == ([64, 128], 512)
    assert cfg.train_dataloader.dataset.times == 3
    assert cfg.val_dataloader.dataset.data_prefix.seg_map_path == 'annotations/validation'
    assert cfg.val_dataloader.dataset.test_mode
    assert [head.num_classes for head in cfg.model.decode_head] == [11, 11]
    assert cfg.model.decode_head[1].loss.class_weight == [2.0] * 11 + [0.1]
    assert (cfg.model.test_cfg.crop_size, cfg.model.test_cfg.stride) == ((192, 192), (128, 128))
    with DefaultScope.overwrite_default_scope('mmseg'):
        assert len(DATASETS.build(cfg.train_dataloader.dataset)) == 72


def test_smoke_runs_are_prepared_by_it(mini_seg, monkeypatch):
    monkeypatch.setattr(mini, 'NUM_IMAGES', NUM_IMAGES)
    monkeypatch.setattr(mini.use, '__defaults__', (str(mini_seg),))
    cfg = load_config(ROOT / 'configs/seg/fpn_moganet_xt.py')
    smoke.prepare(cfg)
    assert cfg.train_dataloader.dataset.data_root == str(mini_seg)
    assert cfg.train_cfg.max_iters == 2
    assert cfg.model.backbone.init_cfg is None


def test_the_mini_recipe_says_the_same_as_the_data():
    cfg = load_config(ROOT / 'configs/seg/fpn_moganet_xt_mini.py')
    for name in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        meta = cfg[name].dataset.metainfo
        assert tuple(meta.classes) == mini.CLASSES
        assert [*meta.palette] == [*mini.PALETTE]
        assert cfg[name].dataset.data_root == f'{mini.ROOT}/'
    assert cfg.model.decode_head.num_classes == len(mini.CLASSES)
    assert cfg.model.backbone.init_cfg is None


def test_scenes_are_seen_where_the_map_has_them(mini_seg):
    """At digits of a map, the picture differs from the photograph: its colours change at the rim."""
    inside = []
    for image, labels in zip(sorted(mini_seg.glob('images/training/*.jpg')), maps(mini_seg, 'training'), strict=True):
        grey = cv2.cvtColor(cv2.imread(str(image)), cv2.COLOR_BGR2GRAY)
        edges = np.hypot(cv2.Sobel(grey, cv2.CV_32F, 1, 0), cv2.Sobel(grey, cv2.CV_32F, 0, 1))
        inside.append(edges[labels == 0].mean() / edges[labels == 1].mean())
    assert np.median(inside) > 2
