"""Compiled kernels agree with the torch backend for every width of vector, and appear whole or not at all."""

import contextlib
import shutil
from ctypes import c_int
from itertools import product

import pytest
import torch

from helpers.cases import failures
from helpers.official import relative_error
from moganet import commands, ops
from moganet.arch import split_channels
from moganet.backbone import MogaBlock
from moganet.ops import dispatch
from moganet.ops.cpp import bindings, library
from moganet.ops.cpp.backend import CPP, accepts_folded
from moganet.ops.interface import Options
from moganet.ops.torch.backend import TORCH

pytestmark = pytest.mark.skipif(shutil.which('g++') is None, reason='needs g++')
DILATIONS = (1, 2, 3)
# The last two have channels that fill no vector and rows that fill no block.
SHAPES = ((2, 16, 16, 32), (1, 56, 5, 64), (3, 7, 7, 72), (1, 1, 1, 64), (2, 2, 3, 52), (3, 9, 31, 41))
AVX2 = ['-march=x86-64', '-mavx2', '-mfma']
# The instruction set that must exist, and the flags of a processor: x86 with vectors of 256 and of 128 bits, and with
# vectors of 512 bits made of two of 256.
PROCESSORS = {
    'native': ('', ['-march=native']),
    'avx2': ('avx2', AVX2),
    'sse2': ('sse2', ['-march=x86-64']),
    'avx512 as two of 256 bits': ('avx2', [*AVX2, '-D__AVX512F__', '-Wno-psabi']),
}


# Compiling takes a quarter of a minute for each: the widest and the narrowest vectors are for every run.
OFTEN = ('native', 'sse2')


@pytest.fixture(
    scope='module',
    params=[pytest.param(name, marks=[] if name in OFTEN else pytest.mark.slow) for name in PROCESSORS],
)
def processor(request, tmp_path_factory):
    """Kernels compiled for a processor, which this one must be able to stand for."""
    needed, own_flags = PROCESSORS[request.param]
    if needed not in library.processor().split(' ') and needed:
        pytest.skip(f'this processor has no {needed}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MOGANET_CACHE', str(tmp_path_factory.mktemp('cache')))
        flags = [flag for flag in library.FLAGS if flag != '-march=native']
        patch.setattr(library, 'FLAGS', (*flags, *own_flags))
        library.build()
        yield request.param
    library.load.cache_clear()


THREADS = (1, 3)
# All images at once, and one at a time.
CACHE_BYTES = (4 << 20, 1)


@contextlib.contextmanager
def machine(threads, cache_bytes=CACHE_BYTES[0]):
    """Compute with so many threads, and with a cache of so many bytes."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ops.cpu_memory, 'CACHE_BYTES', cache_bytes)
        patch.setattr(bindings, 'SLICE', 96)  # none, one or two and a rest
        try:
            yield
        finally:
            torch.set_num_threads(before)


def convolutions(channels):
    _, middle, high = split_channels(channels)
    shapes = (((channels, 1, 5, 5), (channels,)), ((middle, 1, 5, 5), (middle,)), ((high, 1, 7, 7), (high,)))
    return [torch.randn(shape) / 5 for pair in shapes for shape in pair]


def weight(outputs, inputs):
    return torch.randn(outputs, inputs) / inputs**0.5


def spatial_weights(channels):
    """Weights of a spatial branch, in the order of the interface."""
    c, square = channels, [weight(channels, channels) for _ in range(4)]
    return (
        torch.randn(c),
        square[0],
        torch.randn(c),
        torch.randn(c),
        square[1],
        torch.randn(c),
        *convolutions(c),
        square[2],
        torch.randn(c),
        square[3],
        torch.randn(c),
    )


def channel_weights(channels):
    """Weights of a channel branch, in the order of the interface."""
    c, hidden = channels, 3 * channels + 5
    return (
        torch.randn(c),
        weight(hidden, c),
        torch.randn(hidden),
        torch.randn(hidden, 1, 3, 3),
        torch.randn(hidden),
        weight(1, hidden)[0],
        torch.randn(1),
        torch.randn(hidden),
        weight(c, hidden),
        torch.randn(c),
    )


def everything(branch, weights, options, x, normed, mask, grad):
    """Outputs of a branch with and without gradients, and its gradients."""
    saved = []
    out = branch.forward(x, normed, mask, weights, options, saved)
    grad_normed, grads = branch.backward(grad, normed, mask, weights, options, saved)
    return [out, branch.forward(x, normed, mask, weights, options, None), grad_normed, *grads]


@pytest.mark.parametrize(
    ('number', 'weights_of', 'options'),
    [
        (0, spatial_weights, Options(False, DILATIONS)),
        (0, spatial_weights, Options(True, (2, 1, 4))),
        (1, channel_weights, Options(False, DILATIONS)),
    ],
)
def test_a_branch_agrees_with_the_torch_backend(number, weights_of, options, processor):
    def check(shape, masked, threads, cache_bytes):
        maps, weights = [torch.randn(shape) for _ in range(3)], weights_of(shape[-1])
        mask = torch.randn(shape[0], 1, 1, 1) if masked else None
        arguments = (weights, options, *maps[:2], mask, maps[2])
        before = [t.clone() for t in (*maps, *weights)]
        with machine(threads, cache_bytes):
            found, expected = (everything(backend.branches()[number], *arguments) for backend in (CPP, TORCH))
        for name, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
            assert ours.shape == theirs.shape, name
            assert ours.is_contiguous(), name
            # Of a single pixel, feature decomposition has no gradient but rounding.
            assert (ours - theirs).abs().max() < 1e-5 * max(0.1, theirs.abs().max()), name
        assert all(torch.equal(a, b) for a, b in zip((*maps, *weights), before, strict=True))

    assert failures(check, product(SHAPES, (True, False), THREADS, CACHE_BYTES)) == {}


def test_matmuls_of_any_size(processor):
    def check(pixels, inputs, outputs, transposed, threads):
        stride = (inputs if transposed else outputs) + 3
        x, w = torch.randn(pixels, inputs), torch.randn((outputs if transposed else inputs), stride)
        bias, added = torch.randn(outputs), torch.randn(pixels, outputs)
        problem = (c_int * 6)(pixels, inputs, outputs, stride, transposed, threads)
        expected = x.double() @ (w[:, :inputs].t() if transposed else w[:, :outputs]).double()
        out = torch.full_like(added, torch.nan)
        with machine(threads):
            bindings.call('matmul', problem, x, w, bias, out)
            assert relative_error(out.double(), expected + bias) < 2e-6
            out.copy_(added)
            bindings.call('matmul', problem, x, w, None, out)
            assert relative_error(out.double(), expected + added) < 2e-6

    assert failures(check, product((1, 500), (37, 320, 700), (1, 45, 97), (True, False), THREADS)) == {}


def test_gradients_of_weights_of_any_size(processor):
    def check(sizes, add, threads):
        pixels, left, right = sizes
        a, b, out = torch.randn(pixels, left), torch.randn(pixels, right), torch.randn(left, right + 5)
        before = out.clone()
        with machine(threads):
            bindings.call('transposed_matmul', (c_int * 6)(pixels, left, right, right + 5, add, threads), a, b, out)
        expected = a.double().t() @ b.double() + (before[:, :right] if add else 0)
        assert relative_error(out[:, :right].double(), expected) < 2e-6
        assert torch.equal(out[:, right:], before[:, right:])

    sizes = ((1, 1, 1), (300, 7, 17), (900, 64, 16), (150, 40, 1100))
    assert failures(check, product(sizes, (True, False), THREADS)) == {}


def test_a_folded_block_agrees_with_the_torch_backend(processor):
    def check(shape, double, threads, cache_bytes):
        channels, row = shape[-1], torch.randn
        shortcut, w_in, b_in, mean, *others = spatial_weights(channels)
        folded = [w_in, b_in, mean, *others, shortcut], list(channel_weights(channels))[1:7]
        folded[1].extend([weight(channels, 3 * channels + 5), row(channels), row(channels)])
        x, found = torch.randn(shape).permute(0, 3, 1, 2), []
        for path in ('auto', 'pytorch'):
            with machine(threads, cache_bytes), ops.use(path):
                found.append(ops.fused.block(x, *folded, Options(double, DILATIONS)))
        assert relative_error(*found) < 1e-5

    assert failures(check, product(SHAPES, (True, False), THREADS, CACHE_BYTES)) == {}


def test_numbers_beyond_what_floats_hold(processor):
    x = torch.tensor([0.0, -0.0, 1e-30, 88.0, -88.0, 100.0, -100.0, 1e4, -1e4, 1e30, torch.nan]).repeat(16)[None]
    channels, zeros = x.shape[1], torch.zeros(x.shape[1])
    out = torch.empty_like(x)
    bindings.call('silu', (c_int * 4)(1, 1, channels, 1), x.clone(), None, out)
    assert torch.allclose(out, torch.nn.functional.silu(x), rtol=1e-6, atol=1e-30, equal_nan=True)
    taps = torch.zeros(channels, 9)
    taps[:, 4] = 1
    given = x, taps, zeros, zeros, zeros[:1]
    bindings.call('ffn', (c_int * 5)(1, 1, 1, channels, 1), *given, out, torch.empty(1))
    assert torch.allclose(out, torch.nn.functional.gelu(x), rtol=1e-6, atol=2e-7, equal_nan=True)


def test_float32_on_cpus_is_compiled_unless_that_is_switched_off(processor):
    block, x = MogaBlock(16, 2, 0, DILATIONS, 'single'), torch.ones(1, 16, 8, 128)
    assert dispatch.backend_for(block, x) is CPP
    assert dispatch.backend_for(block.double(), x.double()) is TORCH
    for sides in ((9, 9), (3, 5)):
        block = MogaBlock(16, 2, 0, DILATIONS, 'single')
        block.attn.value.DW_conv1 = torch.nn.Conv2d(6, 6, sides, padding=[side // 2 for side in sides], groups=6)
        assert dispatch.backend_for(block, x) is TORCH
    for path, expected in (('pytorch', TORCH), ('reference', None)):
        with ops.use(path):
            assert dispatch.backend_for(MogaBlock(16, 2, 0, DILATIONS, 'single'), x) is expected


def test_folded_blocks_of_float32_are_compiled(processor):
    x, weights = torch.ones(1, 16, 1, 1), [torch.ones(16)] * 5 + convolutions(16)
    assert accepts_folded(x, weights)
    assert not accepts_folded(x.double(), weights)
    assert not accepts_folded(x.bfloat16(), weights)
    for kernel in (torch.ones(1, 1, 9, 9), torch.ones(1, 1, 3, 5)):
        assert not accepts_folded(x, [*weights[:5], kernel, *weights[6:]])
    with ops.use('pytorch'):
        assert dispatch.backend_for_folded(x, weights) is TORCH


def test_too_little_memory_is_said(processor):
    maps = bindings.channel_block(torch.empty(1, 1, 1, 1), 1)
    maps.images, maps.width, maps.slice = 1 << 20, 1 << 20, 1 << 20
    with pytest.raises(MemoryError, match='moganet_channel cannot allocate'):
        bindings.call('channel', maps, [], *[None] * 5)


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MOGANET_CACHE', str(tmp_path / 'cache'))
    library.load.cache_clear()
    yield tmp_path / 'cache'
    library.load.cache_clear()


def test_without_kernels_the_torch_backend_computes_and_the_log_names_the_command(empty_cache, told):
    assert dispatch.backend_for(MogaBlock(16, 2, 0, DILATIONS, 'single'), torch.ones(1, 16, 8, 128)) is TORCH
    assert 'torch backend on CPUs' in told[-1]
    assert '`moganet kernels` compiles' in told[-1]


def test_the_command_compiles_them(empty_cache, capsys, monkeypatch):
    # Without optimisation it takes seconds; the other tests compile with it.
    monkeypatch.setattr(library, 'FLAGS', ['-O0' if flag == '-O3' else flag for flag in library.FLAGS])
    assert commands.main(['kernels']) == 0
    assert str(empty_cache / 'kernels') in capsys.readouterr().out
    assert library.load() is not None
    assert [p.suffix for p in (empty_cache / 'kernels').iterdir()] == ['.so']


@pytest.mark.parametrize(
    ('compiler', 'words'),
    [('/no/such/compiler', 'does not start'), ('false', "'false' fails"), ('true', 'makes no library that loads')],
)
def test_a_compiler_that_fails_leaves_nothing_and_says_so_in_a_line(compiler, words, empty_cache, monkeypatch, capsys):
    monkeypatch.setenv('CXX', compiler)
    assert commands.main(['kernels']) == 1
    assert words in capsys.readouterr().err
    assert library.load() is None
    assert list((empty_cache / 'kernels').iterdir()) == []


def test_another_processor_or_other_sources_have_another_library(empty_cache, tmp_path, monkeypatch):
    paths = {library.path()}
    monkeypatch.setattr(library, 'processor', lambda: 'x86_64 flags: fpu')
    paths.add(library.path())
    source = tmp_path / 'a.cpp'
    source.write_text('int a;')
    monkeypatch.setattr(library, 'SOURCES', (source,))
    paths.add(library.path())
    monkeypatch.setattr(library, 'FLAGS', ('-O0',))
    assert len(paths | {library.path()}) == 4


def test_the_default_type_of_others_does_not_matter(processor):
    x = torch.randn(2, 4, 4, 16)
    arguments = CPP.branches()[1], channel_weights(16), Options(False, DILATIONS), x, x, None, x
    expected = everything(*arguments)
    torch.set_default_dtype(torch.float64)
    try:
        found = everything(*arguments)
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
