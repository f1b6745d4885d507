"""Clips in users' files: every format gives the same frames, and errors name unusable files."""

import re

import numpy as np
import pytest
import torch
from mmengine.registry import MODELS
from PIL import Image

from helpers.tool_runs import run_tool
from mogavideo import infer
from mogavideo.clip_files import find_inputs, frame_files, read_clip, resized

FRAMES = np.random.default_rng(4).integers(0, 256, (23, 64, 64), dtype=np.uint8)


@pytest.fixture
def files(tmp_path):
    """Write a clip of 23 frames as a GIF, as frames 1.png to 23.png, and as npy files of every layout and type."""
    folder = tmp_path / 'frames'
    folder.mkdir()
    for i, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(folder / f'{i + 1}.png')
    first, *others = map(Image.fromarray, FRAMES)
    first.save(tmp_path / 'clip.gif', save_all=True, append_images=others)
    np.save(tmp_path / 'thw.npy', FRAMES)
    np.save(tmp_path / 'tchw.npy', FRAMES[:, None])
    np.save(tmp_path / 'thwc.npy', FRAMES[..., None])
    np.save(tmp_path / 'float.npy', FRAMES / 255)
    return tmp_path


@pytest.fixture
def predictor(tiny_cfg, tmp_path):
    model = MODELS.build(tiny_cfg.model)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'w.pth')
    return infer.Predictor(tiny_cfg, str(tmp_path / 'w.pth'))


@pytest.mark.parametrize('name', ['clip.gif', 'frames', 'thw.npy', 'tchw.npy', 'thwc.npy', 'float.npy'])
def test_every_kind_of_file_gives_the_same_frames(name, files):
    clip = read_clip(files / name, channels=1, limit=12)
    assert clip.dtype == np.float32
    assert clip.shape == (12, 1, 64, 64)
    np.testing.assert_allclose(clip[:, 0], FRAMES[:12] / 255, atol=1e-6)


def test_pictures_become_colour_for_a_model_of_colour(files, tmp_path):
    grey = read_clip(files / 'clip.gif', channels=3, limit=4)
    np.testing.assert_allclose(grey, np.repeat(FRAMES[:4, None] / 255, 3, 1), atol=1e-6)
    colour = np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)
    np.save(tmp_path / 'colour.npy', colour)
    np.testing.assert_allclose(read_clip(tmp_path / 'colour.npy', 3, 9), colour / 255, atol=1e-6)


def test_frames_come_in_the_order_of_their_numbers(tmp_path):
    for name in ('b10.png', 'b9.png', 'a100.PNG', 'b010x2.jpg', 'notes.txt'):
        (tmp_path / name).touch()
    assert [path.name for path in frame_files(tmp_path)] == ['a100.PNG', 'b9.png', 'b10.png', 'b010x2.jpg']


def test_a_folder_is_its_clips_or_else_one_clip_of_frames(files):
    clips = sorted(path for path in files.iterdir() if path.suffix in ('.gif', '.npy'))
    assert find_inputs([str(files), str(files / 'frames'), str(files / 'clip.gif')]) == [
        *clips,
        files / 'frames',
        files / 'clip.gif',
    ]


@pytest.mark.parametrize(
    ('name', 'error', 'words'),
    [
        ('nowhere', FileNotFoundError, 'nowhere does not exist'),
        ('empty', FileNotFoundError, 'holds no clips (.gif, .npy) and no frames'),
        ('film.mp4', ValueError, 'film.mp4 is no clip: expected a GIF, an npy file or a folder of frames'),
    ],
)
def test_inputs_that_are_no_clips_are_named(name, error, words, tmp_path):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'film.mp4').touch()
    with pytest.raises(error) as raised:
        find_inputs([str(tmp_path / name)])
    assert words in str(raised.value)
    if name != 'empty':
        with pytest.raises(error):
            read_clip(tmp_path / name, 1, 10)


@pytest.mark.parametrize(
    ('array', 'words'),
    [
        (np.zeros((20, 2, 64, 64), np.uint8), 'has shape (20, 2, 64, 64): expected (T, H, W), (T, C, H, W) or'),
        (np.zeros((20, 3, 64, 64), np.uint8), 'where the model takes C=1'),
        (np.zeros((64, 64), np.uint8), 'has shape (64, 64)'),
        (np.array(3, np.uint8), 'has shape ()'),
        (np.zeros((20, 64, 64), np.int64), 'holds int64: expected uint8 from 0 to 255, or floats from 0 to 1'),
        (np.full((20, 64, 64), 255.0), 'holds float64: expected'),
        (np.full((20, 64, 64), np.nan), 'holds float64: expected'),
        (np.array([object()]), 'cannot be read as an npy file, or is cut off or pickled'),
    ],
)
def test_arrays_of_another_kind_are_named(array, words, tmp_path):
    np.save(tmp_path / 'clip.npy', array)
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        read_clip(tmp_path / 'clip.npy', 1, 20)
    assert 'clip.npy' in str(error.value)


def test_broken_pictures_are_named(files):
    (files / 'frames/7.png').write_bytes(b'\x89PNG but not really')
    with pytest.raises(ValueError, match=r'frames/7\.png cannot be read as an image'):
        read_clip(files / 'frames', 1, 20)
    assert len(read_clip(files / 'frames', 1, 6)) == 6
    Image.new('L', (32, 64)).save(files / 'frames/3.png')
    with pytest.raises(ValueError, match=r'3\.png has 64x32 pixels, the first frame of the clip 64x64'):
        read_clip(files / 'frames', 1, 6)
    gif = (files / 'clip.gif').read_bytes()
    (files / 'clip.gif').write_bytes(gif[: len(gif) // 2])
    with pytest.raises(ValueError, match=r'clip\.gif cannot be read after \d+ frames'):
        read_clip(files / 'clip.gif', 1, 23)
    (files / 'clip.gif').write_bytes(b'GIF89a')
    with pytest.raises(ValueError, match=r'clip\.gif cannot be read as an image'):
        read_clip(files / 'clip.gif', 1, 20)
    with pytest.raises(ValueError, match='is made of pictures, and the model takes frames of 2 channels: use npy'):
        read_clip(files / 'frames', 2, 20)


def test_resizing_averages_where_frames_shrink():
    clip = FRAMES[:2, None].astype(np.float32)
    assert resized(clip, 64, 64) is clip
    np.testing.assert_allclose(resized(clip, 32, 16), clip.reshape(2, 1, 32, 2, 16, 4).mean((3, 5)), rtol=1e-5)
    assert resized(clip, 128, 96).shape == (2, 1, 128, 96)


def test_prediction_is_the_models_roll_out_of_the_first_frames(predictor, files):
    inputs = torch.from_numpy(FRAMES[:10, None] / 255).float()[None]
    with torch.no_grad():
        expected = predictor.model.roll_out(inputs, 25)[0].numpy()
    np.testing.assert_allclose(predictor(files / 'clip.gif', frames=25), expected, atol=1e-5)
    np.testing.assert_allclose(predictor(FRAMES[:, None], frames=3), expected[:3], atol=1e-5)
    np.testing.assert_allclose(predictor(FRAMES[:, None] / 255, frames=3), expected[:3], atol=1e-5)
    assert predictor(FRAMES[:10, None]).shape == (10, 1, 64, 64)


@pytest.mark.parametrize('shape', [(9, 1, 64, 64), (10, 3, 64, 64), (10, 64, 64)])
def test_arrays_that_the_model_cannot_read_are_refused(shape, predictor):
    with pytest.raises(ValueError, match=r'expected at least 10 frames \(T, C, H, W\) of 1 channels'):
        predictor(np.zeros(shape, np.uint8))


def test_drawing_writes_strip_and_animation_and_says_how_good_it_is(predictor, files, tmp_path):
    words = predictor.draw(files / 'clip.gif', tmp_path / 'out/p.png')
    truth = FRAMES[10:20] / 255
    mse = ((predictor(files / 'clip.gif')[:, 0] - truth) ** 2).sum((1, 2)).mean()
    copied = ((FRAMES[9] / 255 - truth) ** 2).sum((1, 2)).mean()
    expected = f'10 frames after 10, animated in p.gif; MSE {mse:.1f}, last frame repeated {copied:.1f}'
    assert words == expected
    with Image.open(tmp_path / 'out/p.png') as strip, Image.open(tmp_path / 'out/p.gif') as animation:
        assert strip.size[0] > strip.size[1] > 4 * 64
        assert animation.n_frames == 20


def test_clips_are_compared_as_far_as_they_go(predictor, tmp_path):
    np.save(tmp_path / 'some.npy', FRAMES[:13])
    truth = FRAMES[10:13] / 255
    mse = ((predictor(tmp_path / 'some.npy')[:3, 0] - truth) ** 2).sum((1, 2)).mean()
    assert f'MSE {mse:.1f}, ' in predictor.draw(tmp_path / 'some.npy', tmp_path / 'p.png')
    np.save(tmp_path / 'none.npy', np.kron(FRAMES[:10], np.ones((1, 2, 1), np.uint8)))
    words = predictor.draw(tmp_path / 'none.npy', tmp_path / 'p.png')
    assert words == '10 frames after 10, animated in p.gif; resized from 128x64 to 64x64'


def test_clips_too_short_and_clips_in_the_way_are_named(predictor, files, tmp_path):
    np.save(tmp_path / 'short.npy', FRAMES[:9])
    with pytest.raises(ValueError, match=r'short\.npy has 9 frames, and the model reads 10'):
        predictor.draw(tmp_path / 'short.npy', tmp_path / 'p.png')
    with pytest.raises(ValueError, match=r'clip\.gif would be written over: choose another --out-dir'):
        predictor.draw(files / 'clip.gif', files / 'clip.png')


def test_tool_predicts_more_frames_of_every_clip_named(tiny_cfg, predictor, files, tmp_path, capsys):
    tiny_cfg.dump(tmp_path / 'tiny.py')
    code = run_tool(
        'infer',
        tmp_path / 'tiny.py',
        tmp_path / 'w.pth',
        files / 'frames',
        files / 'thw.npy',
        '--out-dir',
        tmp_path / 'out',
        '--cfg-options',
        'model.out_frames=13',
    )
    lines = capsys.readouterr().out.splitlines()
    assert code == 0
    assert [line for line in lines if '13 frames after 10' in line and ' -> ' in line] == lines[-2:]
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        'frames.gif',
        'frames.png',
        'thw.gif',
        'thw.png',
    ]
