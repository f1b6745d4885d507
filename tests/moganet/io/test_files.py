"""Files and folders are written whole or not at all, and nothing is lost."""

import pytest

from moganet.io.files import atomic, atomic_directory


def test_it_appears_at_the_end(tmp_path):
    root = tmp_path / 'a/b'
    with atomic_directory(root) as partial:
        (partial / 'x').write_text('1')
        assert not root.exists()
    assert [p.name for p in root.iterdir()] == ['x']
    assert [p.name for p in root.parent.iterdir()] == ['b']


def test_a_failure_leaves_nothing(tmp_path):
    def write():
        with atomic_directory(tmp_path / 'b') as partial:
            (partial / 'x').write_text('1')
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize('kind', ['folder', 'file'])
def test_what_is_there_stays(tmp_path, kind):
    root = tmp_path / 'photos'
    if kind == 'folder':
        root.mkdir()
        (root / 'mine.jpg').write_text('dear')
    else:
        root.write_text('dear')
    with pytest.raises(ValueError, match='photos exists'), atomic_directory(root):
        raise AssertionError('not reached')
    assert (root / 'mine.jpg' if kind == 'folder' else root).read_text() == 'dear'
    assert [p.name for p in tmp_path.iterdir()] == ['photos']


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / 'b').mkdir()
    with atomic_directory(tmp_path / 'b') as partial:
        (partial / 'x').write_text('1')
    assert (tmp_path / 'b/x').is_file()


def test_the_first_of_two_processes_stays(tmp_path):
    with atomic_directory(tmp_path / 'b') as partial:
        (partial / 'x').write_text('second')
        (tmp_path / 'b').mkdir()
        (tmp_path / 'b/x').write_text('first')
    assert (tmp_path / 'b/x').read_text() == 'first'
    assert [p.name for p in tmp_path.iterdir()] == ['b']


def test_a_file_is_replaced_at_the_end(tmp_path):
    path = tmp_path / 'metrics.json'
    path.write_text('old')
    with atomic(path) as partial:
        partial.write_text('new')
        assert path.read_text() == 'old'
    assert path.read_text() == 'new'
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / 'metrics.json'
    path.write_text('old')

    def write():
        with atomic(path) as partial:
            partial.write_text('half')
            raise KeyError

    with pytest.raises(KeyError):
        write()
    assert path.read_text() == 'old'
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_nobody_wrote_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / 'a'):
        pass
    assert list(tmp_path.iterdir()) == []
