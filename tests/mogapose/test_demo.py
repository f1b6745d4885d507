"""The demo trains, and prints the table, the pictures and the next commands."""

from PIL import Image

from moganet.run.config import load_config
from mogapose import demo


def test_demo_ends_with_table_pictures_and_next_commands(mini_pose, tiny_pose, tmp_path, capsys):
    cfg = load_config(tiny_pose, dict(data_root=str(mini_pose)))
    cfg.train_dataloader.dataset.indices = 32
    cfg.param_scheduler[0].total_steps = 2
    cfg.train_cfg.update(max_epochs=2, val_interval=1)
    cfg.work_dir = str(tmp_path / 'run')
    metrics = demo.run(cfg)
    out = capsys.readouterr().out
    assert demo.table(metrics) in out
    assert 0 <= metrics['coco/PCK'] <= 1
    assert 0 <= metrics['coco/AP'] <= 1
    assert out.count('evaluation: coco/PCK') == 2
    assert 'Average Precision' not in out
    assert 'loading annotations' not in out
    with Image.open(tmp_path / 'run/predictions.png') as grid:
        assert grid.size == (4 * 640, 3 * 640)
    assert f'tools/test.py {demo.CONFIG} {tmp_path}/run/epoch_2.pth' in out
    assert (tmp_path / 'run/epoch_2.pth').exists()
    best = [path.name for path in (tmp_path / 'run').glob('best_coco_AP_*.pth')]
    assert len(best) == 1
