"""Fixtures of the tests of video prediction."""

import pytest

from helpers.tool_runs import ROOT
from moganet.run.config import load_config


@pytest.fixture(scope='session')
def mini_video(tmp_path_factory):
    """Return a folder with mini data of video prediction: fewer clips than by default, generated alike."""
    from mogavideo import mini

    root = tmp_path_factory.mktemp('data') / 'video'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mini, 'NUM_CLIPS', 6)
        mini.make(root)
    return root


@pytest.fixture
def tiny_cfg(mini_video, tmp_path):
    """Return the mini recipe with a model of a few thousand parameters and two short epochs."""
    cfg = load_config(ROOT / 'configs/video/simvp_moganet_mini.py', dict(data_root=str(mini_video)))
    cfg.model.update(hid_S=4, hid_T=8, N_S=2, N_T=2)
    cfg.train_dataloader.update(batch_size=2)
    cfg.train_dataloader.dataset.indices = 4
    cfg.val_dataloader.update(batch_size=4)
    cfg.test_dataloader.update(batch_size=4)
    cfg.param_scheduler[0].total_steps = 2
    cfg.train_cfg.update(max_epochs=2, val_interval=1)
    cfg.work_dir = str(tmp_path / 'run')
    return cfg
