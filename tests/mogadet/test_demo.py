"""The demo trains, and ends with the table, pictures and the next commands."""

from PIL import Image

from helpers.tool_runs import ROOT
from mogadet import demo
from moganet.run.config import load_config

TINY = dict(embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2))


def test_demo_ends_with_table_pictures_and_next_commands(mini_det, tmp_path, capsys):
    cfg = load_config(ROOT / demo.CONFIG, dict(data_root=str(mini_det)))
    cfg.model.backbone.arch = TINY
    cfg.model.neck.in_channels = list(TINY['embed_dims'])
    cfg.model.test_cfg.rcnn.max_per_img = 5
    cfg.train_dataloader.dataset.indices = 8
    cfg.param_scheduler[0].total_steps = 2
    cfg.train_cfg.update(max_epochs=2, val_interval=1)
    cfg.work_dir = str(tmp_path / 'run')
    metrics = demo.run(cfg)
    out = capsys.readouterr().out
    assert demo.table(metrics) in out
    assert 0 <= metrics['coco/bbox_mAP_50'] <= 1
    assert out.count('evaluation: coco/bbox_mAP_50') == 2
    assert 'on 12 images' in out
    assert 'Average Precision' not in out
    assert 'loading annotations' not in out
    with Image.open(tmp_path / 'run/predictions.png') as grid:
        assert grid.size == (4 * 640, 3 * 640)
    assert f'tools/test.py {demo.CONFIG} {tmp_path}/run/epoch_2.pth' in out
    assert (tmp_path / 'run/epoch_2.pth').exists()
