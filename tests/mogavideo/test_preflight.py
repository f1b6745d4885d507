"""Checks of video data before anything is built: missing files, other files, clips that do not fit the model."""

import re

import numpy as np
import pytest

from helpers.tool_runs import run_tool
from moganet.run.preflight import check_data
from mogavideo.preflight import check_video

BOTH = ('train_dataloader', 'val_dataloader')


def test_mini_data_pass(tiny_cfg):
    check_data(tiny_cfg, BOTH)


@pytest.mark.parametrize('shape', [(9, 1, 64, 64), (10, 3, 64, 64), (10, 1, 128, 128)])
@pytest.mark.parametrize('name', BOTH)
def test_clips_of_another_shape_than_the_models_are_named(shape, name, tiny_cfg):
    tiny_cfg.model.in_shape = shape
    words = f'have shape (10, 1, 64, 64) (frames, channels, height, width), and model.in_shape is {shape}'
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        check_video(tiny_cfg, (name,))
    assert name in str(error.value)


def test_size_of_stored_clips_is_read_from_their_file(tiny_cfg, tmp_path):
    np.save(tmp_path / 'mine.npy', np.zeros((20, 2, 32, 48), np.uint8))
    tiny_cfg.val_dataloader.dataset.update(data_root=str(tmp_path), file='mine.npy', in_frames=5)
    with pytest.raises(ValueError, match=r'mine\.npy that the model sees have shape \(5, 1, 32, 48\)'):
        check_video(tiny_cfg, BOTH)
    tiny_cfg.model.in_shape = (5, 1, 32, 48)
    check_video(tiny_cfg, ('val_dataloader',))


def test_missing_folder_and_missing_file_say_what_belongs_there(tiny_cfg, tmp_path):
    files = dict(
        train_dataloader='train-images-idx3-ubyte.gz (MNIST has it, https://',
        val_dataloader='mnist_test_seq.npy (Moving MNIST has it, http://',
    )
    for name, words in files.items():
        tiny_cfg[name].dataset.data_root = str(tmp_path / 'moving_fmnist')
        with pytest.raises(FileNotFoundError) as error:
            check_data(tiny_cfg, (name,))
        assert f"moving_fmnist' of {name} does not exist; expected there: {words}" in str(error.value)
        assert len(str(error.value)) < 600  # the message shows this much
    (tmp_path / 'moving_fmnist').mkdir()
    tiny_cfg.val_dataloader.dataset.file = 'fmnist_test_seq.npy'
    with pytest.raises(FileNotFoundError, match=r'fmnist_test_seq\.npy does not exist: OpenSTL has it'):
        check_data(tiny_cfg, ('val_dataloader',))


def test_other_data_sets_are_left_alone(tiny_cfg):
    tiny_cfg.val_dataloader.dataset = dict(type='Theirs', data_root='.', file='nowhere.npy')
    check_video(tiny_cfg, ('val_dataloader',))


def test_training_on_a_broken_file_ends_in_one_line(tiny_cfg, mini_video, tmp_path, capsys):
    whole = (mini_video / 'train-images-idx3-ubyte.gz').read_bytes()
    (tmp_path / 'train-images-idx3-ubyte.gz').write_bytes(whole[:1000])
    tiny_cfg.train_dataloader.dataset.data_root = str(tmp_path)
    tiny_cfg.dump(tmp_path / 'tiny.py')
    assert run_tool('train', tmp_path / 'tiny.py') == 1
    error = capsys.readouterr().err.strip().splitlines()
    assert 'train-images-idx3-ubyte.gz is cut off or no gzip file' in error[-1]
