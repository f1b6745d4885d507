"""Predictions of single images agree with those of the data set; boxes come from a file or a detector."""

import json

import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DATASETS, MODELS, DefaultScope
from PIL import Image

from helpers.tool_runs import ROOT, run_tool
from moganet.run.config import load_config
from mogapose import infer
from mogapose.boxes import DETECTIONS

MASK_RCNN = """
_base_ = '{root}/configs/det/mask_rcnn_moganet_xt_mini.py'
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2))),
    neck=dict(in_channels=[8, 16, 24, 32]), test_cfg=dict(rcnn=dict(score_thr=0.0, max_per_img={count})))
"""


def checkpoint_of(config, path, scope, change=lambda model: None):
    with DefaultScope.overwrite_default_scope(scope):
        model = MODELS.build(load_config(config).model)
    change(model)
    torch.save(dict(state_dict=model.state_dict()), path)
    return path


@pytest.fixture
def tiny(tiny_pose, tmp_path):
    """Paths of a config and of a checkpoint that predicts every joint in the middle of the box."""

    def bright(model):
        torch.nn.init.constant_(model.head.final_layer.bias, 0.9)

    return tiny_pose, checkpoint_of(tiny_pose, tmp_path / 'tiny.pth', 'mmpose', bright)


@pytest.fixture
def image(mini_pose):
    return mini_pose / 'val2017/000000000001.jpg'


def annotations(mini_pose):
    content = json.loads((mini_pose / 'annotations/person_keypoints_val2017.json').read_text())
    found = [a['bbox'] for a in content['annotations'] if a['image_id'] == 1 and not a['iscrowd']]
    return [[x, y, x + w, y + h] for x, y, w, h in found]


def test_predictions_are_those_of_the_data_set(tiny, mini_pose):
    cfg = load_config(tiny[0], dict(data_root=str(mini_pose)))
    predictor = infer.Predictor(cfg, tiny[1])
    with DefaultScope.overwrite_default_scope('mmpose'):
        dataset = DATASETS.build(dict(cfg.val_dataloader.dataset))
    data = [dataset[i] for i in range(3)]
    expected = predictor.model.test_step(pseudo_collate(data))
    for sample in expected:
        found = predictor(sample.img_path, sample.gt_instances.bboxes)
        np.testing.assert_allclose(found.keypoints, sample.pred_instances.keypoints, atol=0.05)
        np.testing.assert_allclose(found.keypoint_scores, sample.pred_instances.keypoint_scores, rtol=1e-4)


def test_many_people_are_as_if_they_came_one_by_one(tiny, image, mini_pose, monkeypatch):
    predictor = infer.Predictor(load_config(tiny[0]), tiny[1])
    boxes = annotations(mini_pose)
    together = predictor(image, boxes)
    monkeypatch.setattr(infer, 'BATCH_SIZE', 2)
    assert together.keypoints.shape == (len(boxes), 17, 2)
    assert len(boxes) > 2
    np.testing.assert_allclose(predictor(image, boxes).keypoints, together.keypoints, atol=0.05)
    assert together.bboxes.tolist() == boxes


def test_without_boxes_the_whole_image_is_one_persons(tiny, image):
    found = infer.Predictor(load_config(tiny[0]), tiny[1])(image)
    with Image.open(image) as picture:
        assert found.bboxes.tolist() == [[0, 0, *picture.size]]
    assert found.keypoints.shape == (1, 17, 2)


def test_no_boxes_are_no_people(tiny, image, tmp_path):
    predictor = infer.Predictor(load_config(tiny[0]), tiny[1])
    assert predictor(image, np.zeros((0, 4))).keypoints.shape == (0, 17, 2)
    assert predictor.draw(image, tmp_path / 'out.png', np.zeros((0, 4))) == 'nobody: no boxes'
    assert (tmp_path / 'out.png').exists()


def test_a_box_outside_is_named_with_its_image(tiny, image):
    predictor = infer.Predictor(load_config(tiny[0]), tiny[1])
    with pytest.raises(ValueError, match=r'000000000001.jpg: box \[900.0, 5.0, 950.0, 9.0\]'):
        predictor(image, [[900, 5, 950, 9]])


def test_other_kinds_of_models_are_refused(tiny):
    cfg = load_config(tiny[0], {'model.type': 'BottomupPoseEstimator'})
    with pytest.raises(ValueError, match='has a BottomupPoseEstimator: expected a TopdownPoseEstimator'):
        infer.Predictor(cfg, tiny[1])


def test_a_config_of_mmpose_itself_works(image, tmp_path):
    path = tmp_path / 'res50.py'
    path.write_text(
        "_base_ = 'mmpose::body_2d_keypoint/topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192.py'\n"
        'model = dict(backbone=dict(depth=18, init_cfg=None), head=dict(in_channels=512))\n'
    )
    checkpoint = checkpoint_of(path, tmp_path / 'res18.pth', 'mmpose')
    assert len(infer.Predictor(load_config(path), checkpoint)(image)) == 1


def last_line(capsys):
    return capsys.readouterr().out.splitlines()[-1]


def test_infer_takes_the_whole_image_by_default(tiny, image, tmp_path, capsys):
    assert run_tool('infer', *tiny, image, '--out-dir', tmp_path / 'out') == 0
    assert '1 person, 17 of 17 joints' in last_line(capsys)
    with Image.open(tmp_path / 'out/000000000001.png') as picture:
        assert max(picture.size) == 640


def test_infer_takes_boxes_from_annotations(tiny, image, mini_pose, tmp_path, capsys):
    file = mini_pose / 'annotations/person_keypoints_val2017.json'
    assert run_tool('infer', *tiny, image, '--out-dir', tmp_path / 'out', '--boxes', file) == 0
    assert f': {len(annotations(mini_pose))} people, ' in last_line(capsys)


def test_infer_takes_boxes_from_detections_for_a_folder(tiny, image, mini_pose, tmp_path, capsys):
    file = mini_pose / DETECTIONS
    certain = [d for d in json.loads(file.read_text()) if d['score'] >= 0.5]
    assert run_tool('infer', *tiny, image.parent, '--out-dir', tmp_path / 'out', '--boxes', file) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if '2017' in line]
    assert len(lines) == 12
    for image_id, line in enumerate(lines, 1):
        count = sum(d['image_id'] == image_id for d in certain)
        assert f': {count} p' in line or (count == 0 and 'nobody' in line)


@pytest.fixture
def detector(tmp_path):
    """Options for a detector that finds the digit three everywhere, or nothing."""

    def write(count, bias=9.0):
        config = tmp_path / 'detector.py'
        config.write_text(MASK_RCNN.format(root=ROOT, count=count))

        def threes(model):
            torch.nn.init.constant_(model.roi_head.bbox_head.fc_cls.bias[3], bias)

        checkpoint = checkpoint_of(config, tmp_path / 'detector.pth', 'mmdet', threes)
        return ['--det-config', config, '--det-checkpoint', checkpoint]

    return write


def test_infer_takes_boxes_from_a_detector(tiny, image, detector, tmp_path, capsys):
    options = [*detector(4), '--det-class', '3']
    assert run_tool('infer', *tiny, image, '--out-dir', tmp_path / 'out', *options) == 0
    assert ': 4 people, 68 of 68 joints' in last_line(capsys)


def test_infer_says_that_a_detector_found_nobody(tiny, image, detector, tmp_path, capsys):
    options = [*detector(4, bias=0.0), '--det-class', '3']
    assert run_tool('infer', *tiny, image, '--out-dir', tmp_path / 'out', *options) == 0
    assert 'nobody: no boxes' in last_line(capsys)


def test_infer_names_a_class_that_the_detector_lacks(tiny, image, detector, tmp_path, capsys):
    assert run_tool('infer', *tiny, image, '--out-dir', tmp_path / 'out', *detector(4)) == 1
    assert "no class 'person': choose with --det-class one of 0, 1, 2" in capsys.readouterr().err


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--boxes', 'none.json'], '--boxes none.json does not exist'),
        (['--boxes', 'none.json', '--det-class', 'cat'], '--boxes and a detector: expected one of them'),
        (['--det-config', 'a.py'], 'a detector needs both --det-config and --det-checkpoint'),
        (['--det-class', 'cat'], 'a detector needs both --det-config and --det-checkpoint'),
    ],
)
def test_options_that_do_not_fit_are_refused_in_one_line(tiny_pose, image, tmp_path, capsys, options, words):
    assert run_tool('infer', tiny_pose, 'none.pth', image, '--out-dir', tmp_path / 'out', *options) == 1
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1


def test_boxes_are_refused_for_other_tasks(image, tmp_path, capsys):
    config = ROOT / 'configs/cls/moganet_xt_mini.py'
    assert run_tool('infer', config, 'none.pth', image, '--out-dir', tmp_path / 'out', '--boxes', 'b.json') == 1
    assert '--boxes is for pose and expose, ' in capsys.readouterr().err
