"""What the tests of ExPose share."""

import pytest


@pytest.fixture(scope='session')
def body_models(tmp_path_factory):
    """Folder with synthetic MANO, FLAME and SMPL-X files, as data/body_models holds the licensed ones."""
    from mogapose.expose.synthetic import write_body_models

    root = tmp_path_factory.mktemp('data') / 'body_models'
    write_body_models(root)
    return root
