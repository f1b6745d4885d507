"""What the tests of segmentation share."""

import pytest


@pytest.fixture(scope='session')
def mini_seg(tmp_path_factory):
    """Folder with mini data of segmentation: fewer images than by default, of the same kind."""
    from mogaseg import mini

    root = tmp_path_factory.mktemp('data') / 'seg'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mini, 'NUM_IMAGES', dict(training=24, validation=12))
        mini.make(root)
    return root
