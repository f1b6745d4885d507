"""The recipe of whole bodies: its values, and training, testing and pictures on bodies written as HumanData."""

import pickle

import cv2
import numpy as np
import pytest
from mmengine.registry import DefaultScope

from helpers.tool_runs import ROOT, call, run_tool
from moganet.run.config import load_config
from mogapose.expose.complexity import count
from mogapose.expose.data.human_data import write_human_data
from mogapose.expose.mini.synthetic_body_models import FILES
from mogapose.expose.models.conventions import SMPLX_SLOTS
from mogapose.expose.registry import MODELS

CONFIG = ROOT / 'configs/expose/body_moganet_s.py'
TINY = """
_base_ = '{config}'
model = dict(
    backbone=dict(
        arch=dict(_delete_=True, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2)),
        init_cfg=None),
    head=dict(in_channels=32), body_model=dict(path={smplx!r}))
loader = dict(batch_size=2, num_workers=0, persistent_workers=False)
train_dataloader = dict(**loader)
test_dataloader = dict(**loader)
train_cfg = dict(max_epochs=1)
"""
LABELS = dict(
    global_orient=(1, 3),
    body_pose=(21, 3),
    left_hand_pose=(15, 3),
    right_hand_pose=(15, 3),
    jaw_pose=(1, 3),
    betas=(10,),
    expression=(10,),
)
COUNT = 4


def test_body_has_the_parameters_of_backbone_and_head_and_all_losses():
    cfg = load_config(CONFIG)
    assert count(cfg, (64, 64)).parameters == 24_822_675 + 2_273_621
    with DefaultScope.overwrite_default_scope('mogapose'):
        model = MODELS.build(cfg.model)
    assert {name: loss.loss_weight for name, loss in model.losses.items()} == dict(
        loss_keypoints2d=1,
        loss_keypoints3d=1,
        loss_smplx_global_orient=1,
        loss_smplx_body_pose=1,
        loss_smplx_hand_pose=1,
        loss_smplx_jaw_pose=1,
        loss_smplx_expression=1,
        loss_smplx_betas=0.001,
        loss_smplx_betas_prior=1,
    )
    assert (cfg.train_dataloader.batch_size, cfg.auto_scale_lr.base_batch_size) == (48, 192)
    steps = {step.type: step for step in cfg.train_dataloader.dataset.pipeline}
    assert 'BBoxCenterJitter' not in steps
    assert 'SimulateLowRes' not in steps
    assert steps['RandomHorizontalFlip'].flip_prob == 0.5
    assert steps['MeshAffine'].img_res == 256
    assert steps['GetRandomScaleRotation'].scale_factor == 0.25


@pytest.fixture
def bodies(tmp_path, monkeypatch, body_models):
    """A folder with images and labels of bodies at the recipe's paths, and a small config."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    for folder, file in (('data/datasets', 'curated_fits_train'), ('data/datasets/EHF', 'ehf_val')):
        (tmp_path / folder).mkdir(parents=True, exist_ok=True)
        for i in range(COUNT):
            cv2.imwrite(f'{folder}/{i}.png', random.integers(256, size=(80, 60, 3), dtype=np.uint8))
        points = random.uniform(10, 60, (COUNT, 144, 2))
        write_human_data(
            f'data/preprocessed_datasets/{file}.npz',
            [f'{i}.png' for i in range(COUNT)],
            np.tile((5, 5, 50, 70), (COUNT, 1)),
            slots=SMPLX_SLOTS,
            keypoints2d=np.concatenate((points, np.ones((COUNT, 144, 1))), 2),
            smplx={name: random.normal(size=(COUNT, *shape)) / 3 for name, shape in LABELS.items()},
        )
    path = tmp_path / 'bodies.py'
    path.write_text(TINY.format(config=CONFIG, smplx=str(body_models / FILES['smplx'])))
    return path


def test_bodies_are_trained_on_predicted_and_drawn(bodies):
    assert run_tool('train', bodies) == 0
    weights = 'work_dirs/bodies/epoch_1.pth'
    call('test', bodies, weights, '--out', 'bodies.pkl')
    found = pickle.loads((bodies.parent / 'bodies.pkl').read_bytes())  # noqa: S301  written just above
    assert len(found) == COUNT
    assert found[0]['pred_vertices'].shape == (10475, 3)
    assert found[0]['pred_body_pose'].shape == (21, 3, 3)
    assert np.isfinite(np.asarray(found[3]['pred_joints'])).all()
    call('infer', bodies, weights, 'data/datasets/0.png', '--out-dir', 'found')
    assert cv2.imread('found/0.png') is not None
