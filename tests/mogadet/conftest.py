"""Fixtures of the tests of detection."""

import pytest


@pytest.fixture(scope='session')
def mini_det(tmp_path_factory):
    """Return a folder with mini data of detection: fewer images than by default, generated alike."""
    from mogadet import mini

    root = tmp_path_factory.mktemp('data') / 'det'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mini, 'NUM_IMAGES', dict(train=24, val=12))
        mini.make(root)
    return root
