"""Moving MNIST's files and clips: the motion, the formats, and the dependence on the seed."""

import gzip
import math
import re
import struct

import numpy as np
import pytest
import torch
from mmengine.runner import Runner

from mogavideo import datasets, motion
from mogavideo.datasets import FreshClips, MovingImages, StoredClips, open_clips, read_images


def slow_path(start: float, speed: float, frames: int) -> list[float]:
    """Return one coordinate of one object, step by step."""
    found, x, sign = [], start, 1
    for _ in range(frames):
        x += sign * speed
        if x <= 0:
            x, sign = 0.0, -sign
        elif x >= 1:
            x, sign = 1.0, -sign
        found.append(x)
    return found


def idx(images: np.ndarray, magic: int = 2051, count: int | None = None) -> bytes:
    header = struct.pack('>4i', magic, len(images) if count is None else count, *images.shape[1:])
    return gzip.compress(header + images.tobytes())


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(1, 256, (7, 28, 28), dtype=np.uint8)


@pytest.fixture
def root(tmp_path, images):
    """Return a data set of seven images and three clips of 20 frames."""
    (tmp_path / 'train-images-idx3-ubyte.gz').write_bytes(idx(images))
    stored = np.random.default_rng(2).integers(0, 256, (20, 3, 64, 64), dtype=np.uint8)
    np.save(tmp_path / 'mnist_test_seq.npy', stored)
    return tmp_path


def test_paths_are_those_of_the_slow_formula():
    random = np.random.default_rng(0)
    start, angle = random.random((200, 2)), random.uniform(0, 2 * np.pi, 200)
    found = motion.bounce(start, angle, 40)
    for i in range(200):
        speeds = 0.1 * math.sin(angle[i]), 0.1 * math.cos(angle[i])
        expected = [slow_path(start[i, axis], speeds[axis], 40) for axis in (0, 1)]
        np.testing.assert_allclose(found[i].T, expected, rtol=0, atol=1e-12)


def test_path_stays_on_the_wall_for_a_frame_and_comes_back():
    # Sideways, at a tenth per frame: to the right from 0.85, to the left from 0.15.
    found = motion.bounce(np.array([[0.5, 0.85], [0.5, 0.15]]), np.array([0.0, np.pi]), 5)
    np.testing.assert_allclose(found[..., 0], 0.5, atol=1e-12)
    np.testing.assert_allclose(found[0, :, 1], [0.95, 1.0, 0.9, 0.8, 0.7], atol=1e-12)
    np.testing.assert_allclose(found[1, :, 1], [0.05, 0.0, 0.1, 0.2, 0.3], atol=1e-12)


def test_composite_shows_the_brighter_pixel(images):
    corners = np.random.default_rng(3).integers(0, 37, (2, 4, 2))
    corners[1, 0] = corners[0, 0] + (3, -5) if corners[0, 0, 1] > 4 else corners[0, 0]
    found = motion.composite(images[:2], corners)
    expected = np.zeros((4, 64, 64), np.uint8)
    for frame in range(4):
        for n in range(2):
            top, left = corners[n, frame]
            for y in range(28):
                for x in range(28):
                    expected[frame, top + y, left + x] = max(expected[frame, top + y, left + x], images[n, y, x])
    assert np.array_equal(found, expected)


def test_clip_shows_two_images_at_the_cut_pixels_of_their_paths(images):
    found = motion.moving_clip(images, 20, np.random.default_rng(5))
    random = np.random.default_rng(5)
    picks, start, angle = random.integers(7, size=2), random.random((2, 2)), random.uniform(0, 2 * np.pi, 2)
    expected = np.zeros((20, 64, 64), np.uint8)
    for n, pick in enumerate(picks):
        rows, columns = (
            slow_path(start[n, axis], 0.1 * wave(angle[n]), 20) for axis, wave in enumerate((math.sin, math.cos))
        )
        for frame, (y, x) in enumerate(zip(rows, columns, strict=True)):
            window = expected[frame, int(36 * y) : int(36 * y) + 28, int(36 * x) : int(36 * x) + 28]
            np.maximum(window, images[pick], out=window)
    assert np.array_equal(found, expected)


def test_starts_angles_and_images_are_spread_over_all_there_are(images):
    flat = np.arange(1, 8, dtype=np.uint8)[:, None, None].repeat(28, 1).repeat(28, 2)
    found = np.stack([motion.moving_clip(flat, 1, np.random.default_rng(i))[0] for i in range(400)])
    seen = np.unique(found, return_counts=True)[1][1:]
    assert len(seen) == 7
    assert seen.min() > 0.5 * seen.max()
    covered = (found > 0).mean(0)
    # Uniform in the square and symmetric: the middle is nearly always covered, the corners seldom.
    assert covered[32, 32] > 0.7
    assert 0 < covered[[0, 0, -1, -1], [0, -1, 0, -1]].max() < 0.1
    assert np.abs(covered - covered[::-1]).mean() < 0.05
    assert np.abs(covered - covered.T).mean() < 0.05


def test_images_are_those_of_the_file(root, images):
    assert np.array_equal(read_images(root / 'train-images-idx3-ubyte.gz'), images)


@pytest.mark.parametrize(
    ('content', 'words'),
    [
        (lambda images: idx(images)[:-30], 'is cut off or no gzip file'),
        (lambda images: idx(images)[:15], 'is cut off or no gzip file'),
        (lambda images: b'<html>404</html>', 'is cut off or no gzip file (Not a gzipped file'),
        (lambda images: idx(images)[:200] + bytes(50) + idx(images)[250:], 'is cut off or no gzip file'),
        (lambda images: idx(images, magic=2049), 'its magic number is 2049, expected 2051'),
        (lambda images: gzip.compress(b'tiny!'), 'no file of images in the format idx3-ubyte.gz: its magic number'),
        (lambda images: gzip.compress(b''), 'its magic number is 0, expected 2051'),
        (lambda images: gzip.compress(struct.pack('>2i', 2051, 3) + b'!'), 'holds 3 images of'),
        (lambda images: idx(images, count=8), 'holds fewer pixels than the 8 images of 28x28'),
        (lambda images: idx(images, count=6), 'holds more pixels than the 6 images of 28x28'),
        (lambda images: idx(images[:0]), 'holds 0 images of 28x28 pixels: expected at least one'),
        (lambda images: idx(np.zeros((2, 64, 28), np.uint8)), 'images smaller than 64x64'),
    ],
)
def test_file_of_images_that_cannot_be_used_is_named(content, words, images, tmp_path):
    path = tmp_path / 'train-images-idx3-ubyte.gz'
    path.write_bytes(content(images))
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        read_images(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize(
    ('path', 'words'),
    [
        ('moving_mnist/train-images-idx3-ubyte.gz', 'MNIST has it, https://'),
        ('moving_fmnist/train-images-idx3-ubyte.gz', 'Fashion-MNIST has it, http://fashion-mnist'),
        ('moving_mnist/mnist_test_seq.npy', 'www.cs.toronto.edu/~nitish/unsupervised_video/mnist_test_seq.npy'),
        ('moving_fmnist/fmnist_test_seq.npy', 'OpenSTL/releases/download/v0.1.0/fmnist_test_seq.npy.tar'),
        ('data/mini/video/mnist_test_seq.npy', 'make_mini_data.py --task video writes it'),
        ('mine/other.npy', 'mine/other.npy does not exist'),
    ],
)
def test_missing_file_is_named_with_where_to_get_it(path, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError) as error:
        (read_images if path.endswith('.gz') else open_clips)(path)
    assert path in str(error.value)
    assert words in str(error.value)


class Bomb:
    def __reduce__(self):
        return print, ('pickles must not be read',)


@pytest.mark.parametrize(
    ('array', 'words'),
    [
        (np.zeros((20, 3, 64, 64), np.float32), 'holds float32 of shape (20, 3, 64, 64): expected uint8'),
        (np.zeros((20, 64, 64), np.uint8), 'holds uint8 of shape (20, 64, 64): expected uint8 of shape (frames, '),
        (np.array([Bomb()]), 'cut off or pickled'),
    ],
)
def test_clips_of_another_kind_are_named(array, words, tmp_path, capfd):
    path = tmp_path / 'mnist_test_seq.npy'
    np.save(path, array)
    with pytest.raises(ValueError, match=re.escape(words)) as error:
        open_clips(path)
    assert str(path) in str(error.value)
    assert 'must not be read' not in capfd.readouterr().out


@pytest.mark.parametrize('length', [0, 50, 5000])
def test_clips_cut_off_are_named(root, length):
    path = root / 'mnist_test_seq.npy'
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match=r'cut off or pickled .*get it anew'):
        open_clips(path)


def test_stored_clips_are_the_files_frames_and_stay_on_the_disk(root):
    stored = np.load(root / 'mnist_test_seq.npy')
    dataset = StoredClips(str(root))
    assert isinstance(dataset.clips, np.memmap)
    assert len(dataset) == 3
    clip = dataset[2]
    assert clip['inputs'].dtype == clip['targets'].dtype == torch.uint8
    assert np.array_equal(clip['inputs'].numpy(), stored[:10, 2, None])
    assert np.array_equal(clip['targets'].numpy(), stored[10:, 2, None])


def test_frames_seen_and_predicted_can_be_chosen(root):
    stored = np.load(root / 'mnist_test_seq.npy')
    clip = StoredClips(str(root), in_frames=4, out_frames=3)[0]
    assert np.array_equal(clip['inputs'].numpy(), stored[:4, 0, None])
    assert np.array_equal(clip['targets'].numpy(), stored[4:7, 0, None])
    made = MovingImages(str(root), in_frames=5, out_frames=30)[0]
    assert made['inputs'].shape == (5, 1, 64, 64)
    assert made['targets'].shape == (30, 1, 64, 64)
    with pytest.raises(ValueError, match=r'holds 3 clips of 20 frames: .* 10 frames that are seen and 11'):
        StoredClips(str(root), out_frames=11)
    with pytest.raises(ValueError, match='in_frames=0'):
        MovingImages(str(root), in_frames=0)


def test_empty_file_of_clips_is_refused(tmp_path):
    np.save(tmp_path / 'mnist_test_seq.npy', np.zeros((20, 0, 64, 64), np.uint8))
    with pytest.raises(ValueError, match='holds 0 clips'):
        StoredClips(str(tmp_path))


def test_lengths(root):
    assert len(MovingImages(str(root))) == 10000
    assert len(MovingImages(str(root), length=32)) == 32
    assert len(MovingImages(str(root), length=32, indices=8)) == 8
    assert len(StoredClips(str(root), indices=2)) == 2


def test_clip_depends_on_its_number_alone(root):
    dataset = MovingImages(str(root))
    first = dataset[2**64 - 1]
    np.random.seed(7)
    again = MovingImages(str(root))[2**64 - 1]
    assert torch.equal(first['inputs'], again['inputs'])
    assert torch.equal(first['targets'], again['targets'])
    assert not torch.equal(first['inputs'], dataset[5]['inputs'])


def test_fresh_clips_are_others_in_each_epoch_and_of_each_seed():
    def numbers(seed, epoch):
        sampler = FreshClips(range(100), seed)
        sampler.set_epoch(epoch)
        return list(sampler)

    assert numbers(1, 3) == numbers(1, 3)
    every = [number for seed in (1, 2) for epoch in range(3) for number in numbers(seed, epoch)]
    assert len(set(every)) == len(every) == 600


def test_processes_share_an_epoch(monkeypatch):
    whole = list(FreshClips(range(10), 4))
    parts = []
    for rank in range(4):
        monkeypatch.setattr(datasets, 'get_dist_info', lambda rank=rank: (rank, 4))
        sampler = FreshClips(range(10), 4)
        parts.append(list(sampler))
        assert len(sampler) == len(parts[-1]) == 3
    together = [number for step in zip(*parts, strict=True) for number in step]
    assert together[:10] == whole
    assert len(set(together)) == 12


def test_sampler_without_a_seed_draws_one():
    assert list(FreshClips(range(5), None)) != list(FreshClips(range(5), None))


def loader(root, workers):
    cfg = dict(
        batch_size=4,
        num_workers=workers,
        sampler=dict(type='FreshClips'),
        dataset=dict(type='MovingImages', data_root=str(root), length=12),
        collate_fn=dict(type='default_collate'),
    )
    return Runner.build_dataloader(cfg, seed=3)


def test_runners_loader_gives_the_same_clips_with_any_number_of_workers_and_others_in_the_next_epoch(root):
    def epoch(workers, number):
        batches = loader(root, workers)
        batches.sampler.set_epoch(number)
        return torch.cat([batch['inputs'] for batch in batches])

    alone = epoch(0, 0)
    assert alone.shape == (12, 10, 1, 64, 64)
    assert alone.dtype == torch.uint8
    assert torch.equal(alone, epoch(2, 0))
    later = epoch(2, 1)
    assert torch.equal(later, epoch(0, 1))
    assert not any(torch.equal(a, b) for a in alone for b in later)
