"""Predictions of single images agree with those of the data set; pictures and words are checked too."""

import json
import re

import cv2
import numpy as np
import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmengine.registry import DefaultScope
from PIL import Image

from helpers.tool_runs import ROOT, run_tool
from moganet.run.config import load_config
from mogapose.expose import infer, mini
from mogapose.expose.models.rotation import axis_angle_to_matrix
from mogapose.expose.registry import DATASETS, MODELS

FREIHAND = ROOT.parent / 'shared/data/freihand_real'


@pytest.fixture(params=['hand', 'face'])
def tiny(request, tiny_expose, mini_expose, tmp_path):
    return write(request.param, tiny_expose, mini_expose, tmp_path)


@pytest.fixture
def tiny_hand(tiny_expose, mini_expose, tmp_path):
    return write('hand', tiny_expose, mini_expose, tmp_path)


def write(part, tiny_expose, mini_expose, folder):
    """A config that reads the mini data, and a checkpoint of its network with a changed start value."""
    path = tiny_expose(part)
    models = dict(hand='mano/MANO_RIGHT.npz', face='flame/FLAME_NEUTRAL.npz')
    path.write_text(
        path.read_text().replace(
            'model = dict(', f"model = dict(body_model=dict(path='{mini_expose}/body_models/{models[part]}'), "
        )
    )
    cfg = load_config(path)
    mini.use(cfg, str(mini_expose))
    with DefaultScope.overwrite_default_scope('mogapose'):
        model = MODELS.build(cfg.model)
    torch.nn.init.normal_(model.head.regressor.module.output_layer.weight, 0, 0.02)
    torch.save(dict(state_dict=model.state_dict()), folder / 'tiny.pth')
    return cfg, folder / 'tiny.pth', path


def test_predictions_are_those_of_the_data_set(tiny):
    cfg, checkpoint, _ = tiny
    predictor = infer.Predictor(cfg, checkpoint)
    with DefaultScope.overwrite_default_scope('mogapose'):
        dataset = DATASETS.build(dict(cfg.val_dataloader.dataset))
    with torch.no_grad():
        expected = predictor.model.test_step(pseudo_collate([dataset[i] for i in range(3)]))
    for sample in expected:
        found = predictor(sample.img_path)
        np.testing.assert_allclose(found['vertices'][0], sample.pred_vertices, atol=1e-5)
        np.testing.assert_allclose(found['joints'][0], sample.pred_joints, atol=1e-5)
        np.testing.assert_allclose(found['cam'][0], sample.pred_cam, atol=1e-5)
        np.testing.assert_allclose(found['betas'][0], sample.pred_betas, atol=1e-4)
        assert found['global_orient'].shape == (1, 1, 3, 3)


def test_boxes_choose_what_is_seen(tiny_hand, mini_expose, tmp_path):
    """Boxes around two pictures side by side give the predictions of each; key points lie in the whole image."""
    cfg, checkpoint, _ = tiny_hand
    predictor = infer.Predictor(cfg, checkpoint)
    paths = [mini_expose / f'images/hand/val/{i:06d}.jpg' for i in range(2)]
    side = mini.SIDE
    Image.fromarray(np.concatenate([np.asarray(Image.open(path)) for path in paths], 1)).save(tmp_path / 'two.png')
    boxes = [[0, 0, side, side], [side, 0, 2 * side, side]]
    both = predictor(tmp_path / 'two.png', boxes)
    for i, path in enumerate(paths):
        alone = predictor(path)
        # At the seam the crop's last column mixes both pictures.
        np.testing.assert_allclose(both['joints'][i], alone['joints'][0], atol=0.01)
        np.testing.assert_allclose(both['keypoints'][i] - (i * side, 0), alone['keypoints'][0], atol=2)
    assert both['crops'].shape == (2, 64, 64, 3)


def test_keypoints_are_the_crops_taken_back_to_the_image(tiny_hand, mini_expose):
    cfg, checkpoint, _ = tiny_hand
    found = infer.Predictor(cfg, checkpoint)(mini_expose / 'images/hand/val/000000.jpg')
    scale, x, y = found['cam'][0]
    crop = ((scale * (found['joints'][0, :, :2] + (x, y))) + 1) / 2 * 63
    np.testing.assert_allclose(found['keypoints'][0], crop * mini.SIDE / 64, atol=1e-3)


@pytest.mark.parametrize(
    ('boxes', 'words'),
    [
        ([], 'no boxes, where one or more are expected'),
        ([[5, 5, 5, 9]], r'box .* has no pixel of the image, which has 96x96'),
        ([[9, 5, 5, 9]], r'box .* has no pixel of the image, which has 96x96'),
        ([[96, 0, 200, 90]], r'box .* has no pixel of the image, which has 96x96'),
        ([[0, 0, float('nan'), 90]], r'boxes are .*: expected rows of x1, y1, x2, y2'),
    ],
)
def test_boxes_that_show_nothing_are_refused_with_the_images_name(tiny_hand, mini_expose, boxes, words):
    cfg, checkpoint, _ = tiny_hand
    with pytest.raises(ValueError, match=f'000000.jpg: {words}'):
        infer.Predictor(cfg, checkpoint)(mini_expose / 'images/hand/val/000000.jpg', boxes)


def test_a_box_beyond_the_border_is_not_cut(tiny_hand, mini_expose):
    """Pixels outside the image are black, and the rest has the same scale."""
    cfg, checkpoint, _ = tiny_hand
    image = mini_expose / 'images/hand/val/000000.jpg'
    crop = infer.Predictor(cfg, checkpoint)(image, [[-96, 0, 96, 192]])['crops'][0]
    assert not crop[:, :32].any()
    assert not crop[32:].any()
    np.testing.assert_array_equal(crop[:32, 32:], cv2.imread(str(image))[::3, ::3, ::-1])


def test_an_unreadable_image_is_named(tiny_hand, tmp_path):
    cfg, checkpoint, _ = tiny_hand
    (tmp_path / 'broken.jpg').write_bytes(b'no image')
    with pytest.raises(ValueError, match=r'broken\.jpg cannot be read'):
        infer.Predictor(cfg, checkpoint)(tmp_path / 'broken.jpg')


def test_crops_are_the_picture_in_its_colours(tiny_hand, tmp_path):
    cfg, checkpoint, _ = tiny_hand
    Image.fromarray(np.full((96, 96, 3), (200, 100, 50), np.uint8)).save(tmp_path / 'plain.png')
    crops = infer.Predictor(cfg, checkpoint)(tmp_path / 'plain.png')['crops']
    np.testing.assert_array_equal(crops[0, 5:60, 5:60], np.broadcast_to((200, 100, 50), (55, 55, 3)))


def test_fingers_are_described_by_how_far_they_are_bent():
    joints = np.zeros((21, 3))
    for finger, angle in enumerate((0, 30, 60, 90, 120)):
        turn = np.deg2rad(angle)
        steps = np.array([(1, 0, 0), (np.cos(turn / 2), 0, np.sin(turn / 2)), (np.cos(turn), 0, np.sin(turn))])
        joints[1 + 4 * finger : 5 + 4 * finger] = np.concatenate((np.zeros((1, 3)), np.cumsum(0.03 * steps, 0)))
    words = infer.describe(joints, np.eye(3), 'mano')
    assert words == 'right hand, bent: thumb 0, index 30, middle 60, ring 90, pinky 120'


@pytest.mark.parametrize('angle', [0, 25, 90])
def test_faces_are_described_by_how_far_they_are_turned(angle):
    turn = axis_angle_to_matrix(torch.tensor([[0, np.deg2rad(angle), 0], [np.pi, 0, 0]], dtype=torch.float64))
    words = infer.describe(np.zeros((73, 3)), (turn[0] @ turn[1]).numpy(), 'flame')
    assert words == f'face turned away by {angle} degrees'


def test_infer_draws_a_row_for_each_box(tiny, mini_expose, tmp_path):
    cfg, checkpoint, _ = tiny
    predictor = infer.Predictor(cfg, checkpoint)
    image = mini_expose / f'images/{"hand" if predictor.convention == "mano" else "face"}/val/000001.jpg'
    words = predictor.draw(image, tmp_path / 'out.png', [[0, 0, 50, 60], [10, 10, 90, 90]])
    assert len(words.split('; ')) == 2
    assert cv2.imread(str(tmp_path / 'out.png')).shape == (640, 1280, 3)


def test_the_tool_infers(tiny_hand, mini_expose, tmp_path, capsys):
    _, checkpoint, path = tiny_hand
    image = mini_expose / 'images/hand/val/000002.jpg'
    assert run_tool('infer', path, checkpoint, image, '--out-dir', tmp_path / 'out') == 0
    assert re.search(r'000002.jpg: right hand, bent: thumb \d+, .*pinky \d+ -> ', capsys.readouterr().out)
    with Image.open(tmp_path / 'out/000002.png') as picture:
        assert picture.size == (1280, 320)


def written_boxes(folder, size):
    """Annotations of two hands on one image and one on another, beside a face's."""
    rows = [(1, 5, [0, 0, 60, 60]), (1, 6, [9, 9, 9, 9]), (1, 5, [20, 20, 70, 60]), (2, 5, [0, 0, *size])]
    content = dict(
        images=[dict(id=1, file_name='000000.jpg'), dict(id=2, file_name='000001.jpg')],
        categories=[dict(id=5, name='hand'), dict(id=6, name='face')],
        annotations=[dict(image_id=image, category_id=kind, bbox=box) for image, kind, box in rows],
    )
    path = folder / 'boxes.json'
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(('part', 'counts'), [('hand', [2, 1, 0]), ('face', [1, 0, 0])])
def test_the_tool_takes_boxes_of_its_part(part, counts, tiny_expose, mini_expose, tmp_path, capsys):
    _, checkpoint, path = write(part, tiny_expose, mini_expose, tmp_path)
    images = [mini_expose / f'images/{part}/val/{i:06d}.jpg' for i in range(3)]
    options = ['--out-dir', tmp_path / 'out', '--boxes', written_boxes(tmp_path, (mini.SIDE, mini.SIDE))]
    assert run_tool('infer', path, checkpoint, *images, *options) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if '.jpg: ' in line]
    assert [0 if f'no {part}: no boxes' in line else line.count(';') + 1 for line in lines] == counts
    for image, count in zip(images, counts, strict=True):
        with Image.open(tmp_path / f'out/{image.stem}.png') as picture:
            assert picture.size == ((1280, 320 * count) if count else (mini.SIDE, mini.SIDE))


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        (['--boxes', 'none.json'], '--boxes none.json does not exist'),
        (['--boxes', 'none.json', '--det-class', 'hand'], '--boxes and a detector: expected one of them'),
        (['--det-class', 'hand'], 'a detector needs both --det-config and --det-checkpoint'),
    ],
)
def test_box_options_that_do_not_fit_are_refused_in_one_line(tiny_hand, mini_expose, capsys, options, words):
    _, checkpoint, path = tiny_hand
    assert run_tool('infer', path, checkpoint, mini_expose / 'images/hand/val/000000.jpg', *options) == 1
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(('part', 'name'), [('hand', 'hand'), ('face', 'face')])
def test_a_detector_is_asked_for_the_part_of_the_config(part, name, tiny_expose):
    assert infer.subject(load_config(tiny_expose(part))) == name
    assert infer.subject(load_config(ROOT / 'configs/expose/body_moganet_s.py')) == 'person'


@pytest.mark.skipif(not FREIHAND.is_dir(), reason='needs images of FreiHAND beside the checkout')
def test_real_hands_run_through(tiny_hand, tmp_path):
    """For whole photographs of FreiHAND the crop is the shrunk picture."""
    cfg, checkpoint, _ = tiny_hand
    predictor = infer.Predictor(cfg, checkpoint)
    images = sorted(FREIHAND.glob('*.jpg'))
    assert len(images) == 8
    for image in images:
        assert predictor.draw(image, tmp_path / f'{image.stem}.png').startswith('right hand, bent')
        crop = predictor(image)['crops'][0]
        small = cv2.resize(np.asarray(Image.open(image)), (64, 64), interpolation=cv2.INTER_AREA)
        # The crop samples pixels, this averages them: they agree after blurring both.
        blurred = [cv2.GaussianBlur(picture.astype(float), (0, 0), 2).ravel() for picture in (crop, small)]
        assert np.corrcoef(*blurred)[0, 1] > 0.97
    assert len(list(tmp_path.glob('0*.png'))) == 8
