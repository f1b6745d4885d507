"""The demo trains, and ends with the error beside the baseline's, pictures and the next commands."""

import numpy as np
import pytest
from PIL import Image

from mogavideo import demo
from mogavideo.datasets import open_clips


def test_demo_ends_with_the_baseline_pictures_and_next_commands(tiny_cfg, mini_video, tmp_path, capsys):
    metrics = demo.run(tiny_cfg)
    out = capsys.readouterr().out
    assert demo.table(metrics) in out
    assert out.count('evaluation: video/mse') == 2
    assert 'on 6 clips' in out
    stored = open_clips(mini_video / 'mnist_test_seq.npy') / 255
    copied = ((stored[9] - stored[10:]) ** 2).sum((2, 3)).mean()
    assert metrics['video/mse_copy_last'] == pytest.approx(copied, rel=1e-6)
    assert f'the last frame repeated has {copied:.1f}' in out
    run = tmp_path / 'run'
    with Image.open(run / 'prediction.gif') as animation, Image.open(run / 'prediction.png') as strip:
        assert animation.n_frames == 20
        assert strip.size[0] > 10 * 64
    assert np.array_equal(np.load(run / 'clip.npy')[:, 0], open_clips(mini_video / 'mnist_test_seq.npy')[:, 0])
    assert f'tools/infer.py {demo.CONFIG} {run}/epoch_2.pth {run}/clip.npy' in out
    assert (run / 'epoch_2.pth').exists()


def test_table_says_how_much_better_than_the_baseline():
    metrics = {
        'video/mse': 50.0,
        'video/mse_copy_last': 200.0,
        'video/mae': 123.45,
        'video/ssim': 0.9,
        'video/psnr': 20,
    }
    assert demo.table(metrics).splitlines() == [
        'MSE 50.0; the last frame repeated has 200.0, 4.0 times as much',
        'MAE 123.5, SSIM 0.9000, PSNR 20.00 dB',
    ]
