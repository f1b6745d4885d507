"""Fixtures of the tests of 2D pose."""

import pytest

from helpers.tool_runs import ROOT

TINY = """
_base_ = '{root}/configs/pose/moganet_xt_mini.py'
model = dict(
    backbone=dict(arch=dict(_delete_=True, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2))),
    head=dict(in_channels=32, deconv_out_channels=(8, 8, 8)))
"""


@pytest.fixture(scope='session')
def mini_pose(tmp_path_factory):
    """Folder with mini data of 2D pose, with fewer images than by default."""
    from mogapose import mini

    root = tmp_path_factory.mktemp('data') / 'pose'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mini, 'NUM_IMAGES', dict(train=24, val=12))
        mini.make(root)
    return root


@pytest.fixture
def tiny_pose(tmp_path):
    """Path of a config: the mini recipe with a network of a few thousand parameters."""
    path = tmp_path / 'tiny_pose.py'
    path.write_text(TINY.format(root=ROOT))
    return path
