"""The prose keeps to the rules of CONTRIBUTING.md."""

from pathlib import Path

import pytest

from helpers import prose

ROOT = Path(__file__).parents[1]
PACKAGES = sorted(path.name for path in ROOT.glob('moga*') if (path / '__init__.py').exists())
# UPGRADING.md quotes retired names.
DOCUMENTS = [
    path
    for pattern in ('*.md', 'docs/*.md', 'configs/README.md', 'configs/*/README.md')
    for path in sorted(ROOT.glob(pattern))
    if path.name != 'UPGRADING.md'
]


@pytest.mark.parametrize('name', [*PACKAGES, 'tools', 'configs', 'tests'])
def test_prose_has_neither_retired_words_nor_riddles(name):
    paths = prose.files([str(ROOT / name)])
    assert [fault for path in paths for fault in prose.faults(path)] == []
    if name in PACKAGES or name == 'tools':
        assert prose.what_rate(paths) <= prose.MAX_WHAT


def test_documents_have_neither_retired_words_nor_riddles():
    assert [fault for path in DOCUMENTS for fault in prose.faults(path)] == []
    assert prose.what_rate(DOCUMENTS) <= prose.MAX_WHAT


def test_faults_are_found(tmp_path):
    path = tmp_path / 'x.py'
    path.write_text('def f():\n    """What a half is."""\n    # the spatial half\n')
    assert [line.partition(': ')[2] for line in prose.faults(path)] == [
        "opens with 'What': What a half is.",
        "'spatial half' is retired, say 'branch'",
    ]
    assert prose.what_rate([path]) == pytest.approx(1000 / 7)
