"""Reading checkpoint files: no code in them runs, and each fault is one clear line."""

import argparse
import datetime
import io
import pickle
import subprocess
import tarfile

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer

from helpers import checkpoint_files
from helpers.checkpoint_files import Runs
from moganet.checkpoint import read_checkpoint, write_checkpoint

WEIGHTS = {'a': torch.arange(6.0).reshape(2, 3)}
FORMATS = pytest.mark.parametrize('zipped', [True, False], ids=['zip', 'legacy'])


@pytest.fixture
def file(tmp_path):
    return tmp_path / 'w.pth'


def save(file, zipped=True, **content):
    torch.save(dict(state_dict=WEIGHTS, **content), file, _use_new_zipfile_serialization=zipped)


@FORMATS
def test_weights_load(file, zipped):
    save(file, zipped, epoch=3)
    loaded = read_checkpoint(file)
    assert torch.equal(loaded['state_dict']['a'], WEIGHTS['a'])
    assert loaded['epoch'] == 3


@FORMATS
@pytest.mark.parametrize('function', ['system', 'exec', 'check_call'])
def test_code_does_not_run_and_is_named(file, tmp_path, zipped, function):
    marker = tmp_path / 'ran'
    payload = {
        'system': checkpoint_files.command(marker),
        'exec': Runs(exec, f'open({str(marker)!r}, "w")'),
        'check_call': Runs(subprocess.check_call, ['touch', str(marker)]),
    }[function]
    save(file, zipped, extra=payload)
    with pytest.raises(ValueError, match=rf'w\.pth holds more than data.*{function}.*--trust-checkpoint') as error:
        read_checkpoint(file)
    assert '\n' not in str(error.value)
    assert not marker.exists()


def test_code_in_plain_pickle_does_not_run(file, tmp_path):
    file.write_bytes(pickle.dumps(checkpoint_files.command(tmp_path / 'ran'), protocol=2))
    with pytest.raises(ValueError, match=r'asks for posix.system'):
        read_checkpoint(file)
    assert not (tmp_path / 'ran').exists()


def test_code_in_tar_does_not_run(file, tmp_path):
    payload = pickle.dumps(checkpoint_files.command(tmp_path / 'ran'), protocol=2)
    with tarfile.open(file, 'w') as tar:
        for name in ('storages', 'tensors', 'pickle'):
            info = tarfile.TarInfo(name)
            info.size = len(payload)
            tar.addfile(info, io.BytesIO(payload))
    with pytest.raises(ValueError, match=r'cannot be read as a checkpoint.*legacy .tar format'):
        read_checkpoint(file)
    assert not (tmp_path / 'ran').exists()


def test_environment_cannot_turn_safety_off(file, tmp_path, monkeypatch):
    monkeypatch.setenv('TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD', '1')
    save(file, extra=checkpoint_files.command(tmp_path / 'ran'))
    with pytest.raises(ValueError, match='more than data'):
        read_checkpoint(file)
    assert not (tmp_path / 'ran').exists()


def test_trusted_file_may_run_code(file, tmp_path):
    save(file, extra=checkpoint_files.command(tmp_path / 'ran'))
    assert read_checkpoint(file, trust=True)['extra'] == 0
    assert (tmp_path / 'ran').exists()


def test_getattr_reaches_nothing(file):
    # MMEngine's own allow-list has getattr: from a method to its globals, from there to any module.
    method = Runs(getattr, HistoryBuffer, 'update')
    save(file, extra=Runs(getattr, method, '__globals__'))
    with pytest.raises(ValueError, match='getattr'):
        read_checkpoint(file)


def test_statistics_of_history_buffers_cannot_be_replaced(file):
    buffer = HistoryBuffer([1.0, 3.0], [1, 1])
    kept = dict(HistoryBuffer._statistics_methods)
    state = dict(vars(buffer), statistics_methods={'mean': HistoryBuffer.max})
    save(file, extra=Forged(HistoryBuffer, (), state))
    loaded = read_checkpoint(file)['extra']
    assert HistoryBuffer._statistics_methods == kept
    assert loaded.statistics('mean') == 2.0


class Forged:
    """Object that pickles into ``function(*arguments)`` with any state."""

    def __init__(self, function, arguments, state):
        self.parts = function, arguments, state

    def __reduce__(self):
        return self.parts


def test_forged_dtype_makes_no_pointers(file):
    # numpy takes the flags as they come: 63 says that the values are references to count.
    dtype = Forged(np.dtype, ('f8', False, True), (3, '<', None, None, None, -1, -1, 63))
    assert pickle.loads(pickle.dumps(dtype)).hasobject  # noqa: S301  made here
    reconstruct, arguments, _ = np.zeros(1).__reduce__()
    save(file, extra=Forged(reconstruct, arguments, (1, (1,), dtype, False, np.array([2.5]).tobytes())))
    loaded = read_checkpoint(file)['extra']
    assert not loaded.dtype.hasobject
    assert loaded.tolist() == [2.5]


@pytest.mark.parametrize(
    ('value', 'name'),
    [
        (np.array([{}, 1], dtype=object), r"numpy.dtype\('O8'\)"),
        (np.zeros(2, dtype=[('x', 'f4')]), 'numpy.dtype'),
        (datetime.date(2024, 1, 1), 'datetime.date'),
    ],
)
def test_other_types_are_refused_by_name(file, value, name):
    save(file, extra=value)
    with pytest.raises(ValueError, match=f'asks for {name}'):
        read_checkpoint(file)


@FORMATS
def test_arguments_of_timm_load(file, zipped):
    save(file, zipped, arch='moganet_small', args=argparse.Namespace(lr=1e-3, betas=(0.9, np.float64(0.99))))
    args = read_checkpoint(file)['args']
    assert args == argparse.Namespace(lr=1e-3, betas=(0.9, 0.99))


@pytest.mark.parametrize('dtype', ['?', 'u1', 'i4', 'i8', 'f2', 'f4', 'f8', '>f4'])
@pytest.mark.parametrize('shape', [(), (0,), (3, 2)])
def test_arrays_load_as_they_were(file, dtype, shape):
    array = np.asfortranarray(np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype))
    save(file, extra=[{'deep': (array, array.flat[0] if array.size else 0)}])
    loaded, first = read_checkpoint(file)['extra'][0]['deep']
    assert type(loaded) is np.ndarray
    assert loaded.dtype == array.dtype
    assert loaded.flags.f_contiguous == array.flags.f_contiguous
    np.testing.assert_array_equal(loaded, array)
    assert not array.size or (first == array.flat[0] and type(first) is type(array.flat[0]))
    assert loaded.flags.writeable


def test_history_buffer_loads(file):
    save(file, hub={'log_scalars': {'loss': HistoryBuffer([1.0, 2.0, 6.0], [1, 1, 2], max_length=9)}})
    loaded = read_checkpoint(file)['hub']['log_scalars']['loss']
    assert type(loaded) is HistoryBuffer
    assert (loaded.mean(), loaded.current(), loaded.max_length) == (9 / 4, 6.0, 9)
    loaded.update(3.0)
    assert loaded.data[0].tolist() == [1.0, 2.0, 6.0, 3.0]


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r'no.pth: no such checkpoint'):
        read_checkpoint(tmp_path / 'no.pth')


def test_folder(tmp_path):
    with pytest.raises(ValueError, match='is a folder: expected a checkpoint file'):
        read_checkpoint(tmp_path)


def test_empty_file(file):
    file.touch()
    with pytest.raises(ValueError, match=r'w.pth is empty'):
        read_checkpoint(file)


@pytest.mark.parametrize('start', ['<!DOCTYPE html>', '\n  <html>', '\ufeff<?xml'])
def test_web_page(file, start):
    file.write_text(f'{start}<body>Sign in</body></html>')
    with pytest.raises(ValueError, match=r'w.pth looks like a web page'):
        read_checkpoint(file)


@FORMATS
@pytest.mark.parametrize('part', [0.5, 0.9])
@pytest.mark.parametrize('trust', [False, True])
def test_truncated_file(file, zipped, part, trust):
    save(file, zipped, more=torch.rand(2000))
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * part)])
    with pytest.raises(ValueError, match=r'w.pth .*bytes.* damaged, cut off') as error:
        read_checkpoint(file, trust=trust)
    assert '\n' not in str(error.value)


@pytest.mark.parametrize('content', [b'epoch: 3\n', b'\x89PNG\r\n', bytes(100), b'PK\x03\x04 no zip'])
def test_another_kind_of_file(file, content):
    file.write_bytes(content)
    with pytest.raises(ValueError, match=r'w.pth .*another kind of file'):
        read_checkpoint(file)


@pytest.mark.parametrize('content', [{'epoch': 1, 'best': {}}, [torch.rand(1)], torch.rand(1), {}])
def test_no_checkpoint(file, content):
    torch.save(content, file)
    with pytest.raises(ValueError, match=r'is no checkpoint: a (dict|list|Tensor).* without tensors'):
        read_checkpoint(file)


def test_write_checkpoint_leaves_only_whole_files(file, tmp_path):
    write_checkpoint({'state_dict': WEIGHTS}, file)
    before = file.read_bytes()
    with pytest.raises((AttributeError, pickle.PicklingError)):
        write_checkpoint({'state_dict': WEIGHTS, 'bad': lambda: 0}, file)
    assert file.read_bytes() == before
    assert list(tmp_path.iterdir()) == [file]
