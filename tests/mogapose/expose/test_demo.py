"""The demo trains hands and faces, and prints metrics, pictures and the next commands."""

import numpy as np
import pytest
import torch
from PIL import Image

from moganet.run import engine
from moganet.run.config import load_config
from mogapose.expose import demo, mini
from mogapose.expose.body_models.layers import MANO
from mogapose.expose.data.datasets import HumanDataDataset
from mogapose.expose.mini.synthetic_body_models import FILES
from mogapose.expose.models.rotation import axis_angle_to_matrix, similarity_align


def short(path, root):
    cfg = load_config(path, dict(data_root=str(root)))
    cfg.train_dataloader.batch_size = 6
    cfg.param_scheduler[0].end, cfg.param_scheduler[1].T_max = 1, 2
    cfg.train_cfg.update(max_epochs=2, val_interval=1)
    return cfg


def test_demo_ends_with_figures_pictures_and_next_commands(mini_expose, tiny_expose, tmp_path, monkeypatch, capsys):
    means, baseline = [], demo.baseline
    monkeypatch.setattr(demo, 'baseline', lambda runner: means.append(baseline(runner)) or means[-1])
    monkeypatch.setattr(demo, 'load_config', lambda path: short(tiny_expose('face'), mini_expose))
    cfg = short(tiny_expose('hand'), mini_expose)
    folder = tmp_path / 'run'
    cfg.work_dir = str(folder)
    metrics = demo.run(cfg)
    out = capsys.readouterr().out
    assert set(demo.METRICS.values()) < set(metrics)
    for found, config, work_dir in zip(means, (demo.CONFIG, demo.FACE_CONFIG), (folder, folder / 'face'), strict=True):
        assert demo.table(metrics, found) in out
        assert f'tools/test.py {config} {work_dir}/epoch_2.pth' in out
        with Image.open(work_dir / 'predictions.png') as picture:
            assert picture.size == (4 * 320, min(demo.NUM_SHOWN, 8 if 'hand' in config else 4) * 320)
    lower = 100 * (1 - metrics['face/3DRMSE'] / means[1]['face/3DRMSE'])
    assert f'face/3DRMSE is {lower:.0f} % lower than that of the mean' in out


def test_the_mean_is_that_of_the_training_poses(mini_expose, tiny_expose, tmp_path):
    """The baseline computed by hand: mean pose and shape, aligned with each hand of the validation set."""
    cfg = short(tiny_expose('hand'), mini_expose)
    mini.use(cfg, str(mini_expose))
    cfg.work_dir = str(tmp_path)
    found = demo.baseline(engine.build_runner(cfg, ('train_dataloader', 'val_dataloader')))
    train, val = (
        HumanDataDataset(f'hand_{split}.npz', 'mano', data_root=str(mini_expose), test_mode=split == 'val')
        for split in ('train', 'val')
    )
    labels = [train.get_data_info(i) for i in range(len(train))]
    pose, betas = (torch.tensor(np.mean([s[name] for s in labels], 0))[None] for name in ('right_hand_pose', 'betas'))
    model = MANO(mini_expose / 'body_models' / FILES['mano'])
    mean = model(torch.eye(3)[None, None], betas=betas, right_hand_pose=axis_angle_to_matrix(pose))['joints']
    errors = []
    for i in range(len(val)):
        truth = torch.from_numpy(val.get_data_info(i)['gt_joints'])[None]
        errors.append((similarity_align(mean, truth) - truth).norm(dim=-1).mean() * 1000)
    assert found['hand/PA-MPJPE'] == pytest.approx(float(np.mean(errors)), rel=1e-4)
    assert found['hand/PA-MPJPE'] > 5


def test_the_table_has_a_row_for_the_network_and_one_for_the_mean():
    before = {'hand/PA-MPJPE': 12.5, 'hand/F@5': 0.25}
    metrics = {'face/3DRMSE': 9.0, 'hand/PA-MPJPE': 5.0, 'hand/F@5': 0.75}
    title, network, mean = demo.table(metrics, before).splitlines()
    assert title.split() == ['PA-MPJPE', 'F@5']
    assert network.split() == ['network', '5.00', '0.75']
    assert mean.split() == ['the', 'mean', '12.50', '0.25']
