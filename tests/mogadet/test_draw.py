"""Figures show their input, and predictions of single images equal those of the data set."""

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData

from helpers.tool_runs import ROOT, run_tool
from mogadet import demo, draw, infer
from moganet.io import images
from moganet.run.config import load_config

GREY = 100
CONFIG = ROOT / 'configs/det/mask_rcnn_moganet_xt_mini.py'
TINY = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2))


@pytest.fixture
def image():
    return np.full((40, 64, 3), GREY, np.uint8)


def instances(boxes, **extra):
    found = InstanceData(
        bboxes=torch.tensor(boxes, dtype=torch.float), labels=torch.zeros(len(boxes), dtype=torch.long)
    )
    for name, value in extra.items():
        found.set_field(torch.tensor(value), name)
    return found


def changed(picture):
    """Return first and last row and column of a picture that are not grey, as fractions of its sides."""
    rows, columns = np.nonzero((np.abs(picture.astype(int) - GREY) > 8).any(-1))
    height, width = picture.shape[:2]
    return rows.min() / height, (rows.max() + 1) / height, columns.min() / width, (columns.max() + 1) / width


def test_a_box_is_where_it_belongs_on_the_enlarged_image(image):
    picture = draw.draw_instances(image, instances([[16, 10, 48, 30]], scores=[0.9]), ['cat'])
    assert picture.shape == (400, 640, 3)
    assert changed(picture) == pytest.approx((10 / 40, 30 / 40, 16 / 64, 48 / 64), abs=0.01)


def test_a_mask_colours_its_pixels(image):
    mask = np.zeros((1, 40, 64), bool)
    mask[:, 12:28, 20:40] = True
    found = instances([[16, 10, 48, 30]], scores=[0.9])
    without = draw.draw_instances(image, found, ['cat'])
    found.masks = torch.from_numpy(mask)
    with_mask = draw.draw_instances(image, found, ['cat'])
    new = (with_mask != without).any(-1)
    assert new[130:270, 210:390].mean() > 0.99
    assert not new[150:290, 410:470].any()  # in the box, beside the mask


def test_instances_of_a_low_score_are_left_out(image):
    found = instances([[2, 2, 20, 20], [40, 20, 60, 38]], scores=[0.2, 0.5])
    top, _, left, _ = changed(draw.draw_instances(image, found, ['cat']))
    assert top > 0.4
    assert left > 0.5
    everything = changed(draw.draw_instances(image, found, ['cat'], min_score=0.1))
    assert everything[0] < 0.1
    assert everything[2] < 0.1


def test_no_instance_leaves_the_image_as_it_is(image):
    found = instances(np.zeros((0, 4)), scores=np.zeros(0), masks=np.zeros((0, 40, 64), bool))
    assert (draw.draw_instances(image, found, ['cat']) == GREY).all()


def test_the_table_of_the_demo_is_in_percent():
    keys = ('mAP', 'mAP_50', 'mAP_75', 'mAP_s', 'mAP_m', 'mAP_l')
    metrics = {f'coco/{kind}_{key}': i / 10 for kind in ('bbox', 'segm') for i, key in enumerate(keys)}
    metrics['coco/segm_mAP_l'] = -1.0
    title, boxes, masks = demo.table(metrics).splitlines()
    assert title.split() == ['AP', 'AP50', 'AP75', 'small', 'medium', 'large']
    assert boxes.split() == ['boxes', '0.0', '10.0', '20.0', '30.0', '40.0', '50.0']
    assert masks.split()[-1] == '-'


@pytest.fixture
def tiny(tmp_path, mini_det):
    """Return the paths of a config of the mini recipe with a tiny network, and of its checkpoint."""
    config = tmp_path / 'tiny.py'
    config.write_text(
        f"_base_ = '{CONFIG}'\n"
        f'model = dict(backbone=dict(arch=dict(_delete_=True, **{TINY})), neck=dict(in_channels=[8, 16, 24, 32]),\n'
        '    test_cfg=dict(rcnn=dict(score_thr=0.0, max_per_img=7)))\n'
    )
    with DefaultScope.overwrite_default_scope('mmdet'):
        model = MODELS.build(load_config(config).model)
    torch.nn.init.constant_(model.roi_head.bbox_head.fc_cls.bias[3], 9.0)  # predicts threes everywhere
    meta = dict(dataset_meta=dict(classes=list('abcdefghij')))
    torch.save(dict(state_dict=model.state_dict(), meta=meta), tmp_path / 'tiny.pth')
    return config, tmp_path / 'tiny.pth'


def test_predictor_finds_instances_in_pixels_of_the_image(tiny, mini_det):
    config, checkpoint = tiny
    image = mini_det / 'val2017/000000000001.jpg'
    height, width = images.read_image(image).shape[:2]
    predictor = infer.Predictor(load_config(config), checkpoint)
    found = predictor(image)
    assert predictor.classes == list('abcdefghij')
    assert len(found) == 7
    assert set(found.labels.tolist()) == {3}
    assert found.masks.shape == (7, height, width)
    assert found.bboxes[:, 2].max() > 0.8 * width
    assert (found.bboxes[:, 2] <= width).all()


def test_infer_writes_a_picture_and_says_what_is_on_it(tiny, mini_det, tmp_path, capsys):
    images = [mini_det / f'val2017/{number:012d}.jpg' for number in (1, 2)]
    assert run_tool('infer', *tiny, *images, '--out-dir', tmp_path / 'out') == 0
    assert '7 x d' in capsys.readouterr().out.splitlines()[-1]
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == ['000000000001.png', '000000000002.png']


def test_classes_come_from_the_config_if_the_checkpoint_names_none(tiny):
    config, checkpoint = tiny
    torch.save(dict(state_dict=torch.load(checkpoint)['state_dict']), checkpoint)
    assert infer.Predictor(load_config(config), checkpoint).classes == list('0123456789')
    cfg = load_config(config)
    del cfg.test_dataloader.dataset.metainfo
    assert infer.Predictor(cfg, checkpoint).classes[:2] == ['person', 'bicycle']
