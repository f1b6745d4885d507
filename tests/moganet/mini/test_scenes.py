"""Scenes of the mini data: pasted and hidden digits, disjoint splits."""

import numpy as np

from moganet.mini import scenes
from moganet.mini.digits import load_digit_splits


def test_splits_share_neither_digits_nor_pixels_of_photographs():
    digits = load_digit_splits()
    assert len(digits['train'].labels) == 1437
    assert len(digits['val'].labels) == 360
    assert not set(digits['train'].indices) & set(digits['val'].indices)
    # A photograph whose columns are numbered: crops of train stay left of those of val.
    photo = np.broadcast_to(np.arange(200, dtype=np.uint8)[None, :, None], (150, 200, 3))
    seam = int(200 * scenes.TRAIN_SHARE)
    for seed in range(20):
        random = np.random.RandomState(seed)
        assert scenes.background([photo], 'train', random).max() < seam
        assert scenes.background([photo], 'val', random).min() >= seam


def test_a_later_digit_hides_what_it_covers():
    digits = load_digit_splits()['train']
    scene = scenes.Scene(np.full((96, 128, 3), 90, np.float32), np.random.RandomState(0))
    assert scene.paste(digits.images[0], 3, 60, (50, 48))
    alone = scene.objects[0].mask
    assert scene.paste(digits.images[1], 5, 40, (62, 66))
    under, over = scene.objects
    assert (under.label, over.label) == (3, 5)
    assert (alone & over.mask).sum() > 0
    assert (under.mask == (alone & ~over.mask)).all()
    # Nothing changed outside the digits but the soft rim of the paper.
    changed = (np.abs(scene.image - 90) > 128).any(-1)
    assert not (changed & ~(alone | over.mask)).any()


def test_a_digit_that_would_hide_another_is_not_pasted():
    digits = load_digit_splits()['train']
    scene = scenes.Scene(np.zeros((96, 128, 3), np.float32), np.random.RandomState(0))
    assert scene.paste(digits.images[0], 3, 40, (60, 48))
    image, mask = scene.image.copy(), scene.objects[0].mask
    assert not scene.paste(digits.images[1], 5, 60, (60, 48))
    assert not scene.paste(digits.images[1], 5, 60, (127, 95))  # three quarters of it lie outside
    assert (scene.image == image).all()
    assert len(scene.objects) == 1
    assert (scene.objects[0].mask == mask).all()
