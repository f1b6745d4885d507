"""Real images of FreiHAND, with 2D joints alone, through writer, reader and pipeline."""

import json

import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope

from helpers.tool_runs import ROOT
from moganet.run.config import load_config
from mogapose.expose.data.human_data import write_human_data
from mogapose.expose.models.conventions import HAND_SLOTS, MANO_TO_FREIHAND
from mogapose.expose.registry import DATASETS

FOLDER = ROOT.parent / 'shared/data/freihand_real'
RECIPE = ROOT / 'configs/expose/hand_moganet_t.py'

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f'needs {FOLDER.name}, images of FreiHAND')


@pytest.fixture(scope='module')
def images():
    """Names of the files, and joints (8, 21, 3)."""
    content = json.loads((FOLDER / 'test_freihand.json').read_text())
    names = {image['id']: image['file_name'] for image in content['images']}
    rows = sorted(content['annotations'], key=lambda row: names[row['image_id']])
    return [names[row['image_id']] for row in rows], np.array([row['keypoints'] for row in rows]).reshape(-1, 21, 3)


@pytest.fixture
def dataset(images, tmp_path):
    """Build the data set with a pipeline of the recipe."""
    names, joints = images
    boxes = np.tile((0, 0, 224, 224), (len(names), 1))
    write_human_data(tmp_path / 'real.npz', names, boxes, slots=HAND_SLOTS, keypoints2d=joints)

    def build(pipeline, **options):
        with DefaultScope.overwrite_default_scope('mogapose'):
            return DATASETS.build(
                dict(
                    type='HumanDataDataset',
                    ann_file=str(tmp_path / 'real.npz'),
                    convention='mano',
                    data_prefix=dict(img=str(FOLDER)),
                    pipeline=pipeline,
                    **options,
                )
            )

    return build


def test_joints_and_pixels_are_kept_where_nothing_is_augmented(images, dataset):
    found = dataset(load_config(RECIPE).test_pipeline, test_mode=True)
    assert len(found) == 8
    for sample, name, joints in zip(found, *images, strict=True):
        assert np.array_equal(sample['inputs'].permute(1, 2, 0), cv2.imread(str(FOLDER / name)))
        np.testing.assert_allclose(sample['data_samples'].keypoints2d, joints, atol=1e-3)
        assert sample['data_samples'].has_keypoints2d == 1
        assert sample['data_samples'].has_right_hand_pose == 0


def test_joints_are_in_freihands_order(images):
    """A tip is near the joint before it. In MANO's order the tip would belong to another finger."""
    joints = images[1][:, :, :2]
    lengths = [
        np.linalg.norm(points[:, 4::4] - points[:, 3::4], axis=-1).mean()
        for points in (joints, joints[:, list(MANO_TO_FREIHAND)])
    ]
    assert lengths[0] < 0.5 * lengths[1]


def test_augmented_joints_stay_on_the_same_pixels(images, dataset):
    """The surroundings of a joint in the crop are those in the image, rotated and scaled."""
    pipeline = [
        step for step in load_config(RECIPE).train_pipeline if step.type not in ('RandomChannelNoise', 'SimulateLowRes')
    ]
    np.random.seed(0)
    turned = []
    for sample, name in zip(dataset(pipeline), images[0], strict=True):
        found, meta = sample['data_samples'].keypoints2d.numpy(), sample['data_samples'].metainfo
        crop = sample['inputs'].permute(1, 2, 0).numpy()
        back = cv2.warpAffine(crop, meta['crop_transform'], (224, 224), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        image = cv2.imread(str(FOLDER / name))
        joints = images[1][images[0].index(name), :, :2]
        inverse = cv2.invertAffineTransform(meta['crop_transform'])
        np.testing.assert_allclose(found[:, :2] @ inverse[:, :2].T + inverse[:, 2], joints, atol=1e-2)
        inside = ((found[:, :2] > 4) & (found[:, :2] < 219) & (joints > 4) & (joints < 219)).all(1)
        assert inside.sum() > 10
        for x, y in joints[inside].round().astype(int):
            patch = np.s_[y - 2 : y + 3, x - 2 : x + 3]
            assert np.abs(image[patch].mean((0, 1)) - back[patch].mean((0, 1))).max() < 12
        turned.append(meta['rotation'] != 0)
    assert any(turned)


def test_the_whole_training_pipeline_runs(dataset):
    np.random.seed(0)
    found = dataset(load_config(RECIPE).train_pipeline)
    samples = [found[i] for i in range(8)]
    assert all(sample['inputs'].shape == (3, 224, 224) for sample in samples)
    assert all(np.isfinite(sample['data_samples'].keypoints2d).all() for sample in samples)
    assert len({sample['inputs'].numpy().tobytes() for sample in samples}) == 8
