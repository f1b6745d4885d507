"""Fixtures of the tests of segmentation."""

import pytest


@pytest.fixture(scope='session')
def mini_seg(tmp_path_factory):
    """Return a folder with mini data of segmentation: fewer images than by default, generated alike."""
    from mogaseg import mini

    root = tmp_path_factory.mktemp('data') / 'seg'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mini, 'NUM_IMAGES', dict(training=24, validation=12))
        mini.make(root)
    return root
