"""The demo trains, and ends with the table, pictures and the next commands."""

import pytest
from PIL import Image

from helpers.tool_runs import ROOT
from moganet.run.config import load_config
from mogaseg import demo, mini

TINY = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2))


def test_demo_ends_with_table_pictures_and_next_commands(mini_seg, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(mini, 'NUM_IMAGES', dict(training=24, validation=12))
    cfg = load_config(ROOT / demo.CONFIG, dict(data_root=str(mini_seg)))
    cfg.model.backbone.arch = TINY
    cfg.model.neck.in_channels = list(TINY['embed_dims'])
    cfg.param_scheduler = []
    cfg.train_cfg.update(max_iters=4, val_interval=2)
    cfg.work_dir = str(tmp_path / 'run')
    metrics = demo.run(cfg)
    out = capsys.readouterr().out
    table = out.split('never saw:\n')[1].split('predictions:')[0].splitlines()
    assert [line.split()[0] for line in table[1:]] == [*mini.CLASSES, 'mean']
    # Values of mmseg's metric for the same weights; a class that neither occurs nor is predicted has no value.
    assert [float(value) for value in table[-1].split()[1:]] == pytest.approx(
        [metrics['mIoU'], metrics['mAcc']], abs=0.06
    )
    assert out.count('evaluation: mIoU') == 2
    assert 'on 12 photographs' in out
    assert 'per class results' not in out
    with Image.open(tmp_path / 'run/predictions.png') as picture:
        assert picture.width > 1500
    assert f'tools/test.py {demo.CONFIG} {tmp_path}/run/iter_4.pth' in out
    assert (tmp_path / 'run/iter_4.pth').exists()
