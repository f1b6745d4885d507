"""Channels and strides that a built neck or backbone returns."""

import pytest
from mmengine.config import Config

from moganet.swap import probe

CONFIG = Config(dict(default_scope='mmdet'))


def test_neck_is_measured():
    maps = probe.Maps(channels=(8, 16), strides=(4.0, 8.0))
    with probe.scope_of(CONFIG):
        found = probe.measure_neck(dict(type='FPN', in_channels=[8, 16], out_channels=24, num_outs=3), maps, (64, 32))
        wrong = probe.measure_neck(dict(type='FPN', in_channels=[8, 8], out_channels=24, num_outs=3), maps, (64, 32))
    assert found == probe.Maps(channels=(24, 24, 24), strides=(4.0, 8.0, 16.0))
    assert wrong is None


def test_old_backbone_is_measured():
    with probe.scope_of(CONFIG):
        settings = dict(type='ResNet', depth=50, out_indices=(1, 3), strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2))
        maps = probe.measure_backbone(settings, (256, 256))
        with pytest.raises(ValueError, match='backbone Nonesuch cannot be run by itself'):
            probe.measure_backbone(dict(type='Nonesuch'), (256, 256))
    assert maps == probe.Maps(channels=(512, 2048), strides=(8.0, 16.0))
