"""Matmuls with the steps after them equal PyTorch's in double precision; the kernels compile for a Hopper GPU."""

import itertools

import pytest
import torch
from torch.nn.functional import silu

from helpers import hopper
from helpers.hopper import assert_keeps_all_in_registers
from helpers.interpreted import by_interpreter, parametrize, relative

pytest.importorskip('triton')
pointwise = pytest.importorskip('moganet.ops.triton.pointwise')

TYPES = {torch.float32: '*fp32', torch.bfloat16: '*bf16', torch.float16: '*fp16'}
BOUNDS = ((torch.float32, 1e-5), (torch.bfloat16, 1e-2), (torch.float16, 1e-2))
# M, N and K.
SHAPES = [
    (5, 8, 72),  # fewer rows than a tile has, and N != K
    (155, 40, 24),  # several tiles, and a last one with fewer rows
    (257, 64, 64),  # tiles that hold all of N and K, and a last one with one row
    (70, 136, 40),  # the last tile of columns has few
]
# Neighbouring tiles: the second holds columns of the map in every program, in the first program only, or in none.
SIDE_BY_SIDE = [pointwise.tiled_config(32, 32, 16, 32, 4, 2), pointwise.tiled_config(64, 64, 64, 32, 4, 2)]
SIDES = [(39, 96, 32), (40, 104, 48), (65, 56, 40)]


class Case:
    """Arguments of all functions, in a type, and their results in double precision."""

    def __init__(self, m, n, k, dtype, device='cpu'):
        def some(*shape, scale=1.0):
            return (torch.randn(shape, device=device) * scale).to(dtype)

        self.u, self.m, self.x = some(m, k), some(m, k), some(m, n)
        self.w, self.v = some(n, k, scale=k**-0.5), some(n, k, scale=k**-0.5)
        self.b, self.s = some(n), some(n)

    def found(self):
        yield pointwise.gated(self.u, self.m, self.w, self.b, self.v, self.s)
        yield pointwise.added(self.u, self.w, self.b, self.x, self.s)

    def expected(self):
        u, m, x, w, v, b, s = (y.double() for y in (self.u, self.m, self.x, self.w, self.v, self.b, self.s))
        yield silu(u @ w.T + b) * silu(m @ v.T + s)
        yield x + x * s + u @ w.T + b

    def check(self, bound):
        for found, expected in zip(self.found(), self.expected(), strict=True):
            assert found.dtype is self.u.dtype
            assert found.shape == expected.shape
            assert relative(found, expected) < bound


@by_interpreter
@parametrize(('dtype', 'bound'), BOUNDS)
@parametrize('shape', SHAPES, ids=str)
def test_functions_equal_double_precision(shape, dtype, bound):
    Case(*shape, dtype).check(bound)


@by_interpreter
@parametrize('config', range(len(SIDE_BY_SIDE)))
@parametrize('shape', SIDES, ids=str)
def test_two_tiles_side_by_side(shape, config, monkeypatch):
    monkeypatch.setattr(pointwise, 'resident_multiprocessors', lambda device: 0)  # as on a GPU with less shared memory
    for name in 'GATED', 'ADDED':
        tiled = pointwise.autotuned(pointwise.KEY, SIDE_BY_SIDE[config])(getattr(pointwise, f'_{name.lower()}'))
        monkeypatch.setattr(pointwise, name, pointwise.Kernels(tiled, tiled))
    Case(*shape, torch.float16).check(1e-3)


@by_interpreter
def test_no_rows_give_no_rows():
    case = Case(0, 8, 8, torch.float32)
    assert [len(found) for found in case.found()] == [0] * 2


@by_interpreter
def test_far_values_stay_finite():
    big = torch.tensor([-1e4, -200.0, -90.0, 0.0, 90.0, 1e4])
    one, zero = torch.eye(8), torch.zeros(8)
    both = torch.cartesian_prod(big, big).repeat_interleave(8, 1).view(-1, 2, 8)
    u, m = both[:, 0].contiguous(), both[:, 1].contiguous()
    assert relative(pointwise.gated(u, m, one, zero, one, zero), silu(u.double()) * silu(m.double())) < 1e-6


def compiled(kernel, dtype, config, even, **constants):
    constants = {**constants, **config.kwargs, 'EVEN_K': even}
    options = dict(num_warps=config.num_warps, num_stages=config.num_stages)
    return hopper.compiled(
        kernel, lambda name: TYPES[dtype] if name.endswith('_ptr') else None, constants, ('N', 'K'), **options
    )


RESIDENT = [('_gated_resident', pointwise.RESIDENT_DOUBLE), ('_added_resident', pointwise.RESIDENT_SINGLE)]
TILED = [('_gated', pointwise.TILED_DOUBLE), ('_added', pointwise.TILED_SINGLE)]


def assert_is_as_fast_as_it_can_be(found):
    """Check asynchronous copies of whole words, tensor cores, and the limit of shared memory."""
    ptx = found.asm['ptx']
    assert 'wgmma.mma_async' in ptx
    assert ', 0x10' in ptx.split('cp.async.cg.shared.global', 1)[1].splitlines()[0]
    assert 'st.global.v4.b32' in ptx
    assert found.metadata.shared <= pointwise.SHARED_MEMORY


@pytest.mark.codegen
@pytest.mark.parametrize(('name', 'configs'), RESIDENT, ids=[name for name, _ in RESIDENT])
def test_kernels_of_few_channels_compile(name, configs, tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    kernel = getattr(pointwise, name)
    assert_is_as_fast_as_it_can_be(compiled(kernel, torch.bfloat16, configs[0], True, BN=64, BK=64))


@pytest.mark.codegen
@pytest.mark.parametrize(('name', 'configs'), TILED, ids=[name for name, _ in TILED])
def test_kernels_compile(name, configs, tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    assert_is_as_fast_as_it_can_be(compiled(getattr(pointwise, name), torch.bfloat16, configs[0], True))


@pytest.mark.slow
@pytest.mark.parametrize('even', [True, False])
@pytest.mark.parametrize(('name', 'configs'), RESIDENT, ids=[name for name, _ in RESIDENT])
def test_all_configurations_of_few_channels_compile(name, configs, even, tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    for config, width in itertools.product(configs, (32, 64, 128)):
        found = compiled(getattr(pointwise, name), torch.bfloat16, config, even, BN=width, BK=width)
        assert_is_as_fast_as_it_can_be(found)
        assert_keeps_all_in_registers(found, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize('even', [True, False])
@pytest.mark.parametrize(('name', 'configs'), TILED, ids=[name for name, _ in TILED])
def test_all_configurations_compile(name, configs, even, tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    for config in configs:
        found = compiled(getattr(pointwise, name), torch.bfloat16, config, even)
        assert_is_as_fast_as_it_can_be(found)
        assert_keeps_all_in_registers(found, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(('name', 'configs'), TILED, ids=[name for name, _ in TILED])
def test_the_other_type_compiles(name, configs, tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    kernel = getattr(pointwise, name)
    for config in configs:
        assert_keeps_all_in_registers(compiled(kernel, torch.float16, config, True), tmp_path)


@pytest.mark.gpu
@pytest.mark.parametrize(('dtype', 'bound'), BOUNDS[1:])
@pytest.mark.parametrize('shape', [(9408, 64, 64), (2352, 128, 128), (588, 320, 320), (147, 512, 512)])
def test_functions_on_a_gpu_equal_double_precision(shape, dtype, bound):
    Case(*shape, dtype, device='cuda').check(bound)
