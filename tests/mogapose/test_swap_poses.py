"""MogaNet in mmpose's own configs, as ``moganet swap`` writes them: build, one training step, one prediction."""

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate

from helpers import swapping
from moganet.swap import probe
from moganet.swap.command import load_base

ALL, LAST_THREE, LAST, FIRST = (0, 1, 2, 3), (1, 2, 3), (3,), (0,)
BODY = 'body_2d_keypoint/'
# Config of mmpose, the stages that stand for its backbone's maps, where its channels are named, and what they become.
QUICK = [
    (f'{BODY}topdown_heatmap/coco/td-hm_res50_8xb64-210e_coco-256x192', LAST, {'head.in_channels': 32}),
    (
        f'{BODY}simcc/coco/simcc_res50_8xb64-210e_coco-256x192',
        LAST,
        {'head.in_channels': 32, 'head.in_featuremap_size': (6, 8)},
    ),
    (f'{BODY}topdown_regression/coco/td-reg_res50_rle-8xb64-210e_coco-256x192', LAST, {'head.in_channels': 32}),
    (
        'hand_2d_keypoint/topdown_heatmap/onehand10k/td-hm_hrnetv2-w18_8xb64-210e_onehand10k-256x256',
        ALL,
        {'head.in_channels': 80},
    ),
]
SLOW = [
    (f'{BODY}dekr/coco/dekr_hrnet-w32_8xb10-140e_coco-512x512', ALL, {'head.in_channels': 80}),
    (f'{BODY}cid/coco/cid_hrnet-w32_8xb20-140e_coco-512x512', ALL, {'head.in_channels': 80}),
    (f'{BODY}rtmpose/coco/rtmpose-s_8xb256-420e_coco-256x192', LAST, {'head.in_channels': 32}),
    (f'{BODY}rtmo/coco/rtmo-s_8xb32-600e_coco-640x640', LAST_THREE, {'neck.in_channels': [16, 24, 32]}),
    (f'{BODY}topdown_heatmap/coco/td-hm_hrnet-w32_8xb64-210e_coco-256x192', FIRST, {'head.in_channels': 8}),
    (f'{BODY}topdown_heatmap/coco/td-hm_swin-t-p4-w7_8xb32-210e_coco-256x192', LAST, {'head.in_channels': 32}),
    (f'{BODY}integral_regression/coco/ipr_res50_8xb64-210e_coco-256x256', LAST, {'head.in_channels': 32}),
    (
        'wholebody_2d_keypoint/rtmpose/coco-wholebody/rtmpose-m_8xb64-270e_coco-wholebody-256x192',
        LAST,
        {'head.in_channels': 32},
    ),
    ('face_2d_keypoint/topdown_heatmap/wflw/td-hm_hrnetv2-w18_8xb64-60e_wflw-256x256', ALL, {'head.in_channels': 80}),
    ('animal_2d_keypoint/topdown_heatmap/ap10k/td-hm_res50_8xb64-210e_ap10k-256x256', LAST, {'head.in_channels': 32}),
]
# What the pipelines do besides augmentation and reading.
STEPS = (
    'GetBBoxCenterScale',
    'TopdownAffine',
    'BottomupRandomAffine',
    'BottomupResize',
    'GenerateTarget',
    'BottomupGetHeatmapMask',
    'PackPoseInputs',
)
PEOPLE = 2


def annotated_image(num_keypoints: int, side: int) -> dict:
    """An image of noise with two objects side by side and keypoints in their boxes."""
    lefts = np.arange(PEOPLE)[:, None] * side / PEOPLE
    low = np.concatenate([lefts, np.zeros((PEOPLE, 1))], 1) + side / 16
    extent = np.array([side / PEOPLE, side]) - side / 8
    keypoints = low[:, None] + np.random.rand(PEOPLE, num_keypoints, 2) * extent
    return dict(
        img=np.random.randint(0, 256, (side, side, 3), dtype=np.uint8),
        img_shape=(side, side),
        ori_shape=(side, side),
        img_id=1,
        id=1,
        img_path='none.png',
        category_id=[1] * PEOPLE,
        bbox_score=np.ones(PEOPLE, np.float32),
        bbox=np.concatenate([low, low + extent], 1).astype(np.float32),
        keypoints=keypoints.astype(np.float32),
        keypoints_visible=np.ones((PEOPLE, num_keypoints), np.float32),
        area=np.full(PEOPLE, extent.prod(), np.float32),
        flip_indices=list(range(num_keypoints)),
        flip_pairs=[],
        iscrowd=[0] * PEOPLE,
        skeleton_links=[],
        dataset_keypoint_weights=np.ones(num_keypoints, np.float32),
        invalid_segs=[],
    )


def batch(pipeline: list[dict], size: int, num_keypoints: int, side: int, topdown: bool) -> dict:
    """``size`` inputs from the pipeline of the config."""
    steps = Compose([step for step in pipeline if step['type'] in STEPS])
    samples = [annotated_image(num_keypoints, side) for _ in range(size)]
    if topdown:
        for sample in samples:
            for key in ('bbox', 'bbox_score', 'keypoints', 'keypoints_visible', 'area', 'category_id', 'iscrowd'):
                sample[key] = sample[key][:1]
    return pseudo_collate([steps(sample) for sample in samples])


def joints(cfg: Config) -> int:
    """Return the number of keypoints that the head of a config predicts."""
    head = cfg.model.head
    return next(head[key] for key in ('num_keypoints', 'num_joints', 'out_channels') if key in head)


@pytest.mark.parametrize(
    ('name', 'stages', 'channels'),
    [*QUICK, *(pytest.param(*row, marks=pytest.mark.slow) for row in SLOW)],
    ids=[row[0].rpartition('/')[2].partition('_8xb')[0] for row in QUICK + SLOW],
)
def test_swapped_pose_estimator_trains_and_predicts(name, stages, channels, tmp_path):
    base = f'mmpose::{name}.py'
    with probe.scope_of(load_base(base)):
        cfg = swapping.swapped(base, tmp_path)
        assert cfg.model.backbone.out_indices == stages
        assert {place: swapping.look_up(cfg.model, place) for place in channels} == channels
        count, topdown = joints(cfg), cfg.model.type == 'TopdownPoseEstimator'
        model = swapping.build(cfg.model)
        data = batch(cfg.train_dataloader.dataset.pipeline, 2, count, 256, topdown)
        swapping.check_training_step(model, data)

        model.eval()
        size = 2 if topdown else 1  # heads for several people predict one image at a time
        data = batch(cfg.test_dataloader.dataset.pipeline, size, count, 256, topdown)
        with torch.no_grad():
            predictions = model.test_step(data)
        assert len(predictions) == size
        for sample in predictions:
            found = sample.pred_instances
            assert found.keypoints.shape == (len(found), count, 2)
            assert found.keypoint_scores.shape == (len(found), count)
            assert np.isfinite(np.asarray(found.keypoints)).all()
            assert len(found) == 1 or not topdown
