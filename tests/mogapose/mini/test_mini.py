"""mmpose's classes read the mini data, and their labels agree with their pictures."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import InstanceData
from mmpose.datasets import CocoDataset
from mmpose.evaluation import CocoMetric
from PIL import Image
from xtcocotools.coco import COCO

from helpers.tool_runs import ROOT
from moganet.run.config import load_config
from mogapose import mini
from mogapose.boxes import DETECTIONS, is_standard

NUM_IMAGES = dict(train=24, val=12)


@pytest.fixture
def root(mini_pose):
    return mini_pose


def content(root, split):
    return json.loads((root / f'annotations/person_keypoints_{split}2017.json').read_text())


def people(root):
    """Yield each annotation with the file of its picture and its keypoints (17, 3)."""
    for split in NUM_IMAGES:
        found = content(root, split)
        for annotation in found['annotations']:
            yield annotation, np.reshape(annotation['keypoints'], (17, 3))


def dataset(root, split, **options):
    return CocoDataset(
        data_root=str(root),
        ann_file=f'annotations/person_keypoints_{split}2017.json',
        data_prefix=dict(img=f'{split}2017'),
        **options,
    )


def test_defaults_are_600_and_80_images():
    numbers = mini.NUM_IMAGES
    assert numbers == dict(train=600, val=80)
    recipe = load_config(ROOT / 'configs/pose/moganet_xt_256x192.py').val_dataloader.dataset
    assert is_standard(recipe.bbox_file, recipe.data_root)


@pytest.mark.parametrize('split', NUM_IMAGES)
def test_the_real_data_set_reads_everybody_with_keypoints(root, split):
    found = dataset(root, split)
    labelled = [a for a in content(root, split)['annotations'] if a['num_keypoints']]
    assert len(found) == len(labelled) > 2 * NUM_IMAGES[split]
    assert found.metainfo['num_keypoints'] == 17
    for data in found:
        with Image.open(data['img_path']) as image:
            width, height = image.size
        left, top, right, bottom = data['bbox'][0]
        assert 0 <= left < right <= width
        assert 0 <= top < bottom <= height
        assert data['keypoints'].shape == (1, 17, 2)


def test_the_category_is_cocos(root):
    (category,) = content(root, 'val')['categories']
    assert (category['id'], category['name']) == (1, 'person')
    known = dataset(root, 'val').metainfo
    assert category['keypoints'] == [known['keypoint_id2name'][i] for i in range(17)]
    links = {tuple(sorted((a - 1, b - 1))) for a, b in category['skeleton']}
    assert links == {tuple(sorted(link)) for link in known['skeleton_links']}


def test_masks_boxes_and_areas_agree(root):
    for split in NUM_IMAGES:
        read = COCO(str(root / f'annotations/person_keypoints_{split}2017.json'))
        for image_id in read.imgs:
            masks = [read.annToMask(annotation) for annotation in read.imgToAnns[image_id]]
            assert np.sum(masks, 0).max() <= 1  # a pixel shows one person
            for mask, annotation in zip(masks, read.imgToAnns[image_id], strict=True):
                rows, columns = np.nonzero(mask)
                left, top = columns.min(), rows.min()
                assert annotation['bbox'] == [left, top, columns.max() + 1 - left, rows.max() + 1 - top]
                assert annotation['area'] == mask.sum()
                for x, y, flag in np.reshape(annotation['keypoints'], (17, 3)):
                    assert flag in (0, 1, 2)
                    assert 0 <= x < mask.shape[1]
                    assert 0 <= y < mask.shape[0]
                    if flag == 0:
                        assert (x, y) == (0, 0)
                    if flag == 2:
                        assert mask[y, x]


def test_every_flag_is_there_and_counted(root):
    flags = []
    for annotation, keypoints in people(root):
        assert annotation['num_keypoints'] == (keypoints[:, 2] > 0).sum()
        if annotation['num_keypoints']:
            flags += keypoints[:, 2].tolist()
    shares = np.bincount(flags, minlength=3) / len(flags)
    assert shares.min() > 0.03
    assert shares[2] > 0.5


def test_joints_under_another_figure_are_hidden(root):
    """Some hidden joints lie on another person: people overlap."""
    covered = 0
    read = COCO(str(root / 'annotations/person_keypoints_train2017.json'))
    for annotation in read.anns.values():
        others = [a for a in read.imgToAnns[annotation['image_id']] if a['id'] != annotation['id']]
        masks = np.sum([read.annToMask(a) for a in others], 0) if others else 0
        for x, y, flag in np.reshape(annotation['keypoints'], (17, 3)):
            covered += flag == 1 and bool(np.any(masks)) and bool(masks[y, x])
    assert covered > 20


def test_people_are_cut_off_at_the_border(root):
    cut = [a for a, keypoints in people(root) if a['num_keypoints'] and not keypoints[:, 2].all()]
    whole = [a for a, keypoints in people(root) if keypoints[:, 2].all()]
    assert 10 < len(cut) < len(whole)


def test_crowds_and_far_people_have_no_keypoints(monkeypatch):
    monkeypatch.setattr(mini, 'CROWD_CHANCE', 1)
    monkeypatch.setattr(mini, 'FAR_CHANCE', 1)
    photo = np.full((300, 500, 3), 90, np.uint8)
    for seed in range(4):
        image, people = mini.compose([photo], 'train', np.random.RandomState(seed))
        assert image.dtype == np.uint8
        crowd, *others = people
        assert [person.crowd for person in people] == [True] + [False] * len(others)
        labelled = [bool(person.keypoints.any()) for person in people]
        assert labelled in ([False, False] + [True] * (len(people) - 2), [False] + [True] * len(others))
        assert crowd.mask.sum() > max(
            person.mask.sum() for person, known in zip(others, labelled[1:], strict=True) if not known
        )


def test_truth_as_prediction_scores_100(root, capsys):
    """The real metric is perfect if the predictions are the annotations."""
    found = dataset(root, 'val')
    metric = CocoMetric(ann_file=str(root / 'annotations/person_keypoints_val2017.json'))
    metric.dataset_meta = found.metainfo
    for data in found:
        truth = InstanceData(
            keypoints=data['keypoints'],
            keypoint_scores=np.ones((1, 17)),
            bboxes=data['bbox'],
            bbox_scores=data['bbox_score'],
        )
        sample = dict(id=data['id'], img_id=data['img_id'], pred_instances=truth, gt_instances=truth)
        metric.process({}, [sample])
    metrics = metric.evaluate(len(found))
    assert metrics['coco/AP'] == pytest.approx(1)
    assert metrics['coco/AR'] == pytest.approx(1)


def test_detections_are_near_the_truth_with_some_false_ones(root):
    found = dataset(root, 'val', bbox_file=str(root / DETECTIONS), test_mode=True)
    truth = {}
    for annotation in content(root, 'val')['annotations']:
        truth.setdefault(annotation['image_id'], []).append(annotation['bbox'])
    good = []
    for data in found:
        boxes = torch.tensor(truth[data['img_id']], dtype=torch.float)
        boxes[:, 2:] += boxes[:, :2]
        low, high = (
            torch.maximum(boxes[:, :2], torch.tensor(data['bbox'][0, :2])),
            torch.minimum(boxes[:, 2:], torch.tensor(data['bbox'][0, 2:])),
        )
        overlap = (high - low).clamp(0).prod(1)
        union = (boxes[:, 2:] - boxes[:, :2]).prod(1) + (data['bbox'][0, 2:] - data['bbox'][0, :2]).prod() - overlap
        good.append((overlap / union).max() > 0.6)
        assert 0 <= data['bbox_score'] <= 1
    scores = np.concatenate([data['bbox_score'] for data in found])
    certain = scores > 0.5
    assert np.mean(np.array(good)[certain]) > 0.9
    assert np.mean(np.array(good)[~certain]) < 0.5
    labelled = sum(a['num_keypoints'] > 0 for a in content(root, 'val')['annotations'])
    assert 0.85 * labelled < certain.sum() <= labelled


def test_the_same_data_every_time(root, tmp_path, monkeypatch):
    monkeypatch.setattr(mini, 'NUM_IMAGES', NUM_IMAGES)
    mini.make(tmp_path / 'again')
    files = sorted(path.relative_to(root) for path in root.rglob('*') if path.is_file())
    assert len(files) == sum(NUM_IMAGES.values()) + 3
    assert [f for f in files if (root / f).read_bytes() != (tmp_path / 'again' / f).read_bytes()] == []


def test_a_complete_folder_is_left_alone_and_another_one_too(tmp_path, monkeypatch):
    monkeypatch.setattr(mini, 'NUM_IMAGES', dict(train=2, val=1))
    folder = tmp_path / 'pose'
    folder.mkdir()
    (folder / 'mine.jpg').touch()
    with pytest.raises(ValueError, match='pose exists and is something else'):
        mini.make(folder)
    (folder / 'mine.jpg').unlink()
    mini.make(folder)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob('*')}
    assert '2 train and 1 val' in mini.make(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob('*')} == before
    assert [path.name for path in tmp_path.iterdir()] == ['pose']


def test_use_points_any_recipe_at_the_mini_data(root):
    cfg = load_config(ROOT / 'configs/pose/moganet_xt_256x192.py')
    pipeline = cfg.train_dataloader.dataset.pipeline
    mini.use(cfg, str(root))
    assert cfg.train_dataloader.dataset.ann_file == 'annotations/person_keypoints_train2017.json'
    assert cfg.train_dataloader.dataset.pipeline == pipeline
    assert cfg.val_dataloader.dataset.bbox_file == str(root / DETECTIONS)
    assert cfg.val_dataloader.dataset.test_mode
    assert cfg.val_evaluator.ann_file == str(root / 'annotations/person_keypoints_val2017.json')
    assert cfg.model.head.out_channels == 17


def test_use_reaches_wrapped_data_sets_other_joints_and_metrics(root):
    hand = dict(
        type='OneHand10KDataset',
        data_root='x',
        ann_file='a.json',
        data_prefix=dict(img=''),
        data_mode='topdown',
        metainfo=dict(from_file='hand.py'),
        pipeline=['kept'],
    )
    pck, other = dict(type='PCKAccuracy', thr=0.2), dict(type='CocoWholeBodyMetric', ann_file='b.json')
    cfg = Config(
        dict(
            model=dict(head=dict(type='HeatmapHead', out_channels=21, decoder=dict(type='MSRAHeatmap'))),
            train_dataloader=dict(dataset=dict(type='RepeatDataset', times=3, dataset=hand)),
            val_dataloader=dict(dataset=hand),
            val_evaluator=[pck, other],
            test_evaluator=pck,
        )
    )
    mini.use(cfg, str(root))
    inner = cfg.train_dataloader.dataset.dataset
    assert (inner.type, inner.data_root, inner.pipeline) == ('CocoDataset', str(root), ['kept'])
    assert 'metainfo' not in inner
    assert 'bbox_file' not in inner
    assert cfg.train_dataloader.dataset.times == 3
    assert 'val2017' in cfg.val_dataloader.dataset.ann_file
    assert cfg.val_evaluator[0] == cfg.test_evaluator == pck
    assert cfg.val_evaluator[1] == dict(
        type='CocoMetric', ann_file=str(root / 'annotations/person_keypoints_val2017.json')
    )
    assert cfg.model.head.out_channels == 17
