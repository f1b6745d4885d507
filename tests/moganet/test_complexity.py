"""Which task a config is of."""

import pytest
from mmengine.config import Config

from moganet.complexity import task_of


@pytest.mark.parametrize(
    ('cfg', 'task'),
    [
        (dict(default_scope='mmpretrain'), 'cls'),
        (dict(default_scope='mmdet'), 'det'),
        (dict(custom_imports=dict(imports=['moganet']), default_scope='mmseg'), 'seg'),
        (dict(custom_imports=dict(imports=['mogavideo'])), 'video'),
        (dict(custom_imports=dict(imports=['mogapose.expose']), default_scope='mmpose'), 'expose'),
    ],
)
def test_task_of_reads_the_package_before_the_scope(cfg, task):
    assert task_of(Config(cfg)) == task


def test_task_of_an_unknown_scope_names_what_is_known():
    with pytest.raises(ValueError, match="default_scope is 'mmocr'.*mogacls.*mmpretrain"):
        task_of(Config(dict(default_scope='mmocr')))
