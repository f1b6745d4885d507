"""Fixtures of the tests of ExPose."""

from types import SimpleNamespace

import pytest
from mmengine.registry import DefaultScope


@pytest.fixture(autouse=True)
def own_scope():
    """Set the scope of ExPose's configs, whichever scope ran before in this process."""
    with DefaultScope.overwrite_default_scope('mogapose'):
        yield


@pytest.fixture(scope='session')
def body_models(tmp_path_factory):
    """Folder with synthetic MANO, FLAME and SMPL-X files in the layout of data/body_models."""
    from mogapose.expose.mini.synthetic_body_models import write_body_models

    root = tmp_path_factory.mktemp('data') / 'body_models'
    write_body_models(root)
    return root


@pytest.fixture(scope='session')
def freihand(tmp_path_factory, body_models):
    """``source``, a small FreiHAND; ``out``, its conversion; ``truth``, its labels; ``body_model``."""
    from helpers import expose_sources
    from mogapose.expose.data.convert.freihand import convert

    root = tmp_path_factory.mktemp('freihand')
    truth = expose_sources.write_freihand(root / 'source', body_models)
    body_model = body_models / 'mano/MANO_RIGHT.pkl'
    summary = convert(root / 'source', root / 'out', body_model=body_model)
    return SimpleNamespace(
        source=root / 'source', out=root / 'out', truth=truth, body_model=body_model, summary=summary
    )


@pytest.fixture(scope='session')
def ffhq(tmp_path_factory):
    """The same of FFHQ's fits, with images of 64 x 64."""
    from helpers import expose_sources
    from mogapose.expose.data.convert.ffhq import convert

    root = tmp_path_factory.mktemp('ffhq')
    truth = expose_sources.write_ffhq(root / 'source')
    summary = convert(root / 'source', root / 'out', image_size=64)
    return SimpleNamespace(source=root / 'source', out=root / 'out', truth=truth, summary=summary)


@pytest.fixture(scope='session')
def stirling(tmp_path_factory, body_models):
    """The same of Stirling's faces; ``truth`` has scan and landmarks by person."""
    from helpers import expose_sources
    from mogapose.expose.data.convert.stirling import convert

    root = tmp_path_factory.mktemp('stirling')
    truth = expose_sources.write_stirling(root / 'source', body_models)
    summary = convert(root / 'source', root / 'out')
    return SimpleNamespace(source=root / 'source', out=root / 'out', truth=truth, summary=summary)


@pytest.fixture(scope='session')
def mini_expose(tmp_path_factory):
    """Folder with mini data of ExPose, with fewer pictures than by default."""
    from mogapose.expose import mini

    root = tmp_path_factory.mktemp('data') / 'expose'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mini, 'NUM_IMAGES', dict(hand=dict(train=24, val=8), face=dict(train=12, val=4)))
        mini.make(root)
    return root


@pytest.fixture
def tiny_expose(tmp_path):
    """A function that writes a mini recipe of 'hand' or 'face' with a network of a few thousand parameters."""
    from helpers.tool_runs import ROOT

    tiny = 'arch=dict(_delete_=True, embed_dims=(8, 16, 24, 32), depths=(1, 1, 1, 1), ffn_ratios=(2, 2, 2, 2))'

    def write(part):
        path = tmp_path / f'tiny_{part}.py'
        path.write_text(
            f"_base_ = '{ROOT}/configs/expose/{part}_moganet_xt_mini.py'\n"
            f'model = dict(backbone=dict({tiny}), head=dict(in_channels=32, regressor_cfg=dict(layers=(32, 32))))\n'
        )
        return path

    return write
