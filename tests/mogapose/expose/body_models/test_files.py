"""Body-model files: official pickles without chumpy and scipy, conversion, and one line for every wrong file."""

import os
import pickle
import re
import subprocess
import sys

import numpy as np
import pytest
import torch

from helpers.official_body_models import write_flame, write_mano
from helpers.tool_runs import ROOT, call, run_tool
from mogapose.expose.body_models.files import BODY_MODELS, read_body_model
from mogapose.expose.body_models.layers import FLAME, MANO, SMPLX

NAMES = dict(mano='mano/MANO_RIGHT.npz', flame='flame/FLAME_NEUTRAL.npz', smplx='smplx/SMPLX_NEUTRAL.npz')


@pytest.fixture(scope='module')
def arrays(body_models):
    result = {}
    for kind, name in NAMES.items():
        with np.load(body_models / name) as file:
            result[kind] = dict(file)
    return result


def error_of(path, kind='mano'):
    """Return the error of reading a file, which must be one short line that names the file."""
    with pytest.raises(ValueError, match=re.escape(path.name)) as caught:
        read_body_model(path, kind)
    text = str(caught.value)
    assert '\n' not in text
    assert len(text) < 300
    return text


@pytest.mark.parametrize('protocol', [1, 2])
def test_an_official_mano_is_read_without_chumpy(tmp_path, arrays, protocol):
    path = tmp_path / 'MANO_RIGHT.pkl'
    write_mano(arrays['mano'], path, protocol)
    assert b'chumpy.reordering' in path.read_bytes()
    assert b'scipy.sparse.csc' in path.read_bytes()
    read = read_body_model(path, 'mano')
    for key in ('v_template', 'shapedirs', 'posedirs', 'J_regressor', 'weights', 'f', 'hands_mean'):
        np.testing.assert_allclose(read[key], arrays['mano'][key], atol=1e-7, err_msg=key)
    assert read['shapedirs'].dtype == np.float32
    assert read['f'].dtype == np.int64
    assert MANO(path)(torch.eye(3)[None, None])['joints'].shape == (1, 21, 3)


def test_an_official_flame_is_read_with_its_landmark_files(tmp_path, arrays):
    write_flame(arrays['flame'], tmp_path / 'FLAME_NEUTRAL.pkl')
    read = read_body_model(tmp_path / 'FLAME_NEUTRAL.pkl', 'flame')
    for key in ('shapedirs', 'J_regressor', 'lmk_faces_idx', 'lmk_bary_coords', 'dynamic_lmk_faces_idx'):
        np.testing.assert_allclose(read[key], arrays['flame'][key], atol=1e-7, err_msg=key)
    assert FLAME(tmp_path / 'FLAME_NEUTRAL.pkl')(torch.eye(3)[None, None])['joints'].shape == (1, 73, 3)


def test_reading_loads_neither_chumpy_nor_scipy(tmp_path, arrays):
    path = tmp_path / 'MANO_RIGHT.pkl'
    write_mano(arrays['mano'], path)
    code = (
        'import sys; from mogapose.expose.body_models.files import read_body_model;'
        f'read_body_model({str(path)!r}, "mano");'
        'print([name for name in ("chumpy", "scipy", "smplx", "trimesh", "mmcv", "mmpose") if name in sys.modules])'
    )
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env, check=True)
    assert out.stdout.strip() == '[]'


def test_the_official_body_holds_pickled_dicts_that_nobody_needs(tmp_path, arrays):
    np.savez(tmp_path / 'SMPLX_NEUTRAL.npz', **arrays['smplx'], joint2num=np.array(dict(Pelvis=0), dtype=object))
    assert read_body_model(tmp_path / 'SMPLX_NEUTRAL.npz', 'smplx')['hands_meanl'].shape == (45,)


def test_an_older_body_with_twenty_shapes_is_read(tmp_path, arrays):
    older = dict(arrays['smplx'], shapedirs=arrays['smplx']['shapedirs'][..., 290:310])
    np.savez(tmp_path / 'SMPLX_NEUTRAL.npz', **older)
    model = SMPLX(tmp_path / 'SMPLX_NEUTRAL.npz')
    np.testing.assert_array_equal(model.shapedirs.numpy(), older['shapedirs'])


def test_a_converted_file_holds_the_same_and_is_found_beside_the_missing_pickle(tmp_path, arrays, capsys):
    write_flame(arrays['flame'], tmp_path / 'FLAME_NEUTRAL.pkl')
    call('convert_body_model', tmp_path / 'FLAME_NEUTRAL.pkl', tmp_path / 'new' / 'FLAME_NEUTRAL.npz')
    assert 'FLAME (5023 vertices, 5 joints)' in capsys.readouterr().out
    before = read_body_model(tmp_path / 'FLAME_NEUTRAL.pkl', 'flame')
    after = read_body_model(tmp_path / 'new' / 'FLAME_NEUTRAL.pkl', 'flame')
    assert before.keys() == after.keys()
    for key in before:
        np.testing.assert_array_equal(before[key], after[key], err_msg=key)


def test_conversion_refuses_to_overwrite_and_to_write_anything_but_npz(tmp_path, arrays, capsys):
    write_mano(arrays['mano'], tmp_path / 'MANO_RIGHT.pkl')
    (tmp_path / 'out.npz').write_bytes(b'old')
    assert run_tool('convert_body_model', tmp_path / 'MANO_RIGHT.pkl', tmp_path / 'out.npz') == 1
    assert '--force overwrites it' in capsys.readouterr().err
    assert run_tool('convert_body_model', tmp_path / 'MANO_RIGHT.pkl', tmp_path / 'out.npz', '--force') == 0
    assert run_tool('convert_body_model', tmp_path / 'MANO_RIGHT.pkl', tmp_path / 'out.pkl') == 1
    assert 'out.pkl: the converted model is a .npz' in capsys.readouterr().err
    assert run_tool('convert_body_model', tmp_path / 'none.pkl', tmp_path / 'new.npz') == 1
    assert 'none.pkl: no such file; expected the one that was downloaded' in capsys.readouterr().err


@pytest.mark.parametrize(
    ('kind', 'site'), [('mano', 'mano.is.tue'), ('flame', 'flame.is.tue'), ('smplx', 'smpl-x.is.tue')]
)
def test_a_missing_file_says_where_to_get_it_and_where_to_put_it(tmp_path, kind, site):
    path = tmp_path / 'data' / 'MODEL.pkl'
    with pytest.raises(FileNotFoundError, match=f'MODEL.pkl: no such file.*https://{site}.*put it at .*data/MODEL.pkl'):
        read_body_model(path, kind)


def test_missing_landmarks_say_where_to_get_them(tmp_path, arrays):
    write_flame(arrays['flame'], tmp_path / 'FLAME_NEUTRAL.pkl')
    (tmp_path / 'flame_dynamic_embedding.npy').unlink()
    with pytest.raises(FileNotFoundError, match=r'flame_dynamic_embedding\.npy: no such file.*RingNet.*put it at'):
        read_body_model(tmp_path / 'FLAME_NEUTRAL.pkl', 'flame')


def without(key):
    return lambda a: a.pop(key)


def changed(key, change):
    return lambda a: a.update({key: change(a[key].copy())})


def nan(array):
    array.flat[5] = np.nan
    return array


def last_is_huge(array):
    array.flat[-1] = 100_000
    return array


WRONG = {
    'left hand': (changed('v_template', lambda v: v * np.float32((-1, 1, 1))), 'holds a left hand, where MANO_RIGHT'),
    'missing key': (without('weights'), 'has no weights'),
    'missing mean pose': (without('hands_mean'), 'has no hands_mean'),
    'missing template': (without('v_template'), 'has no v_template'),
    'NaN': (changed('posedirs', nan), 'posedirs holds NaN or infinite'),
    'shapes of another release': (changed('shapedirs', lambda s: np.tile(s, 2)), r'shapedirs has 20 .* where 10 \+ 0'),
    'another skeleton': (changed('kintree_table', lambda k: np.minimum(k, 2)), 'kintree_table is not that of MANO'),
    'other pose corrections': (changed('posedirs', lambda p: p[..., :36]), '778 x 3 x 36, where 778 x 3 x 135'),
    'half of the faces': (changed('f', lambda f: f[::2]), 'f has shape 769 x 3, where 1538 x 3'),
    'faces of another mesh': (changed('f', last_is_huge), 'f holds indices outside 0 to 777'),
    'text': (changed('weights', lambda w: w.astype(str)), 'weights holds <U.*, where numbers'),
    'objects': (changed('weights', lambda w: w.astype(object)), 'weights is not readable'),
    'SMPL': (lambda a: a.update(v_template=np.zeros((6890, 3)), kintree_table=np.zeros((2, 24))), r'SMPL \(6890'),
    'no model': (lambda a: a.update(v_template=np.zeros((12, 3))), 'a model of 12 vertices, 16 joints'),
}


@pytest.mark.parametrize(('change', 'text'), WRONG.values(), ids=WRONG)
def test_a_wrong_file_is_one_line(tmp_path, arrays, change, text):
    content = dict(arrays['mano'])
    change(content)
    np.savez(tmp_path / 'MANO_RIGHT.npz', **content)
    assert re.search(text, error_of(tmp_path / 'MANO_RIGHT.npz'))


@pytest.mark.parametrize('given', BODY_MODELS)
@pytest.mark.parametrize('wanted', BODY_MODELS)
def test_a_file_of_another_model_is_told_from_the_right_one(body_models, given, wanted):
    if given == wanted:
        read_body_model(body_models / NAMES[given], wanted)
        return
    text = error_of(body_models / NAMES[given], wanted)
    assert f'holds {BODY_MODELS[given]}, where {BODY_MODELS[wanted]} is expected' in text


def test_a_file_that_is_none_is_one_line(tmp_path):
    for name in ('broken.npz', 'broken.pkl', 'broken.npy'):
        (tmp_path / name).write_bytes(b'PK\x03\x04 no such thing')
        assert 'not a readable' in error_of(tmp_path / name)
    (tmp_path / 'empty.pkl').write_bytes(b'')
    assert 'not a readable pickle' in error_of(tmp_path / 'empty.pkl')
    (tmp_path / 'list.pkl').write_bytes(pickle.dumps([1]))
    assert 'holds list, where a dict' in error_of(tmp_path / 'list.pkl')


def test_a_file_cut_off_is_one_line(tmp_path, arrays):
    path = tmp_path / 'MANO_RIGHT.pkl'
    write_mano(arrays['mano'], path)
    whole = path.read_bytes()
    for share in (0.1, 0.5, 0.99):
        path.write_bytes(whole[: int(share * len(whole))])
        assert 'not a readable pickle' in error_of(path)
    path = tmp_path / 'MANO_RIGHT.npz'
    np.savez_compressed(path, **arrays['mano'])
    path.write_bytes(path.read_bytes()[:5000])
    error_of(path)


class Forged:
    """An object that pickles as a call of ``function`` with ``arguments``, optionally with a state."""

    def __init__(self, function, *arguments, state=None):
        self.call = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self):
        return self.call


def harmless(*arguments):
    raise AssertionError('a pickle ran code')


def reconstruct():
    return np.zeros(1).__reduce__()[0]


FORGED = {
    'os.system': lambda: Forged(os.system, 'echo ran > ran.txt'),
    'eval': lambda: Forged(eval, '1 + 1'),
    'getattr': lambda: Forged(getattr, 'text', 'upper'),
    'import': lambda: Forged(__import__, 'os'),
    'a function of this file': lambda: Forged(harmless),
    'numpy.load': lambda: Forged(np.load, 'x.npy', None, True),
    'numpy.lib by a dotted name': lambda: Forged(np.lib.format.open_memmap, 'x.npy'),
}


@pytest.mark.parametrize('make', FORGED.values(), ids=FORGED)
def test_a_pickle_that_asks_for_more_than_data_is_refused(tmp_path, monkeypatch, make):
    monkeypatch.chdir(tmp_path)
    for protocol in (2, 4):
        (tmp_path / 'forged.pkl').write_bytes(pickle.dumps(dict(v_template=make()), protocol))
        assert 'asks for' in error_of(tmp_path / 'forged.pkl')
    assert not (tmp_path / 'ran.txt').exists()


ODD = {
    'flags of a dtype': lambda: Forged(np.dtype, 'f8', False, True, state=(3, '<', None, None, None, 8, 8, 255)),
    'dtype with fields': lambda: Forged(np.dtype, 'V8', False, True, state=(3, '|', None, ('a',), {'a': 1}, 8, 1, 0)),
    'dtype of a number': lambda: Forged(np.dtype, 7),
    'reconstruct without arguments': lambda: Forged(reconstruct()),
    'reconstruct of text': lambda: Forged(reconstruct(), str, 'x', 3),
    'array larger than its bytes': lambda: Forged(
        reconstruct(), np.ndarray, (0,), b'b', state=(1, (10**9, 3), np.dtype('f8'), False, b'12345678')
    ),
    'array of negative size': lambda: Forged(
        reconstruct(), np.ndarray, (0,), b'b', state=(1, (-5,), np.dtype('f8'), False, b'12345678')
    ),
    'array of objects': lambda: np.array([None, os], dtype=object)[:1],
    'array without a state': lambda: Forged(reconstruct(), np.ndarray, (0,), b'b'),
    'array with half a state': lambda: Forged(reconstruct(), np.ndarray, (0,), b'b', state=(1, (3,))),
    'array of text': lambda: Forged(reconstruct(), np.ndarray, (0,), b'b', state=(1, (1,), 'f8', False, b'12345678')),
}


def test_odd_arguments_are_one_line_and_no_crash(tmp_path):
    """Read in a separate process, since a forged dtype that reaches numpy ends the process."""
    for number, make in enumerate(ODD.values()):
        content = dict(v_template=make(), kintree_table=np.zeros((2, 16)))
        (tmp_path / f'odd{number:02}.pkl').write_bytes(pickle.dumps(content, 2))
    code = (
        'from pathlib import Path; from mogapose.expose.body_models.files import read_body_model\n'
        f'for path in sorted(Path({str(tmp_path)!r}).glob("*.pkl")):\n'
        '    try: read_body_model(path, "mano"); print("read", path)\n'
        '    except ValueError as error: print("refused", error)'
    )
    env = dict(os.environ, PYTHONPATH=str(ROOT), OMP_NUM_THREADS='1')
    out = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, env=env)
    assert out.returncode == 0, out.stderr
    lines = out.stdout.splitlines()
    for number, (name, line) in enumerate(zip(ODD, lines, strict=True)):
        assert line.startswith('refused'), (name, line)
        assert f'odd{number:02}.pkl: ' in line, (name, line)
