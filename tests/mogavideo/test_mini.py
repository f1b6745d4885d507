"""The mini data are files of Moving MNIST with real scans, and val shares no scan with train."""

import gzip

import numpy as np
from mmengine.config import Config
from mmengine.registry import DATASETS, DefaultScope

from moganet.mini.digits import load_digit_splits
from mogavideo import mini
from mogavideo.datasets import open_clips, read_images


def test_files_have_the_standard_names_formats_and_sizes(mini_video):
    assert sorted(path.name for path in mini_video.iterdir()) == ['mnist_test_seq.npy', 'train-images-idx3-ubyte.gz']
    header = gzip.decompress((mini_video / 'train-images-idx3-ubyte.gz').read_bytes())[:16]
    assert header.hex() == '00000803' + f'{1437:08x}' + f'{28:08x}' * 2
    clips = np.load(mini_video / 'mnist_test_seq.npy', allow_pickle=False)
    assert clips.shape == (20, 6, 64, 64)
    assert clips.dtype == np.uint8
    assert mini.NUM_CLIPS == 100


def test_images_are_the_scans_of_train_as_large_as_mnists_digits(mini_video):
    images = read_images(mini_video / 'train-images-idx3-ubyte.gz')
    scans = load_digit_splits()['train'].images
    assert len(images) == len(scans)
    assert images[:, :4].max() == images[:, -4:].max() == images[:, :, :4].max() == images[:, :, -4:].max() == 0
    # Averaged over the areas of the scans' pixels, the enlarged images have nearly the same values.
    small = images[:, 4:24, 4:24].reshape(len(images), 4, 5, 4, 5).mean((2, 4))
    large = scans.reshape(len(scans), 4, 2, 4, 2).mean((2, 4))
    assert np.abs(small - large).mean() < 8


def test_clips_show_scans_of_val_and_none_of_train(mini_video):
    # Some frames show the two digits apart. The sum of such a frame is the sum of its two scans.
    clips = open_clips(mini_video / 'mnist_test_seq.npy')
    ink = clips.sum((2, 3), dtype=np.int64).max(0)
    val = np.array([mini.enlarged(scan).sum(dtype=np.int64) for scan in load_digit_splits()['val'].images])
    pairs = (val[:, None] + val).ravel()
    apart = [value for value in ink if value in pairs]
    assert len(apart) >= 4
    train = {image.tobytes() for image in read_images(mini_video / 'train-images-idx3-ubyte.gz')}
    assert train.isdisjoint(mini.enlarged(scan).tobytes() for scan in load_digit_splits()['val'].images)


def test_clips_are_all_different_and_not_those_of_training(mini_video):
    with DefaultScope.overwrite_default_scope('mmengine'):
        stored = DATASETS.build(dict(type='StoredClips', data_root=str(mini_video)))
        made = DATASETS.build(dict(type='MovingImages', data_root=str(mini_video)))
    clips = [stored[i]['inputs'].numpy() for i in range(6)]
    # The visible positions give the paths, independent of the digits: training clips have other paths.
    clips += [made[i]['inputs'].numpy() for i in range(6)]
    centres = np.array([np.argwhere(clip[:, 0] > 0).mean(0) for clip in clips])[:, 1:]
    distances = np.linalg.norm(centres[:, None] - centres, axis=-1) + 100 * np.eye(12)
    assert distances.min() > 0.05


def test_the_same_seed_gives_the_same_bytes_and_a_whole_folder_is_left_alone(mini_video, tmp_path, monkeypatch):
    monkeypatch.setattr(mini, 'NUM_CLIPS', 6)
    summary = mini.make(tmp_path / 'again')
    for name in ('mnist_test_seq.npy', 'train-images-idx3-ubyte.gz'):
        assert (mini_video / name).read_bytes() == (tmp_path / 'again' / name).read_bytes()
        (tmp_path / 'again' / name).write_bytes(b'kept')
    assert mini.make(tmp_path / 'again') == summary
    assert (tmp_path / 'again/mnist_test_seq.npy').read_bytes() == b'kept'
    assert '1437 scans' in summary
    assert '6 clips' in summary


def test_use_points_every_loader_at_the_mini_data(mini_video):
    images = dict(type='MovingImages', data_root='data/moving_fmnist', length=10000)
    clips = dict(type='StoredClips', data_root='data/moving_fmnist', file='fmnist_test_seq.npy', out_frames=5)
    cfg = Config(
        dict(
            train_dataloader=dict(dataset=dict(type='RepeatDataset', dataset=images)),
            val_dataloader=dict(dataset=clips),
            test_dataloader=None,
        )
    )
    mini.use(cfg, str(mini_video))
    assert cfg.train_dataloader.dataset.dataset == dict(
        images, data_root=str(mini_video), file='train-images-idx3-ubyte.gz'
    )
    assert cfg.val_dataloader.dataset == dict(clips, data_root=str(mini_video), file='mnist_test_seq.npy')
