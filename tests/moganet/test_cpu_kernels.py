"""Compiled kernels compute what PyTorch's operations do, for every width of vector, and appear whole or not at all."""

import shutil

import pytest
import torch
from official import relative_error

from moganet import cli, ops
from moganet.ops import choice, passes
from moganet.ops.cpu import compiled, fused, library
from moganet.ops.reference import split_channels

pytestmark = pytest.mark.skipif(shutil.which('g++') is None, reason='needs g++')
DILATIONS = (1, 2, 3)
# The last two have channels that fill no vector and rows that fill no block.
SHAPES = ((2, 16, 16, 32), (1, 56, 5, 64), (3, 7, 7, 72), (1, 1, 1, 64), (2, 2, 3, 52), (3, 9, 31, 41))
# Of x86, with vectors of 256 and of 128 bits: what must be there, and what to compile for it.
PROCESSORS = {'native': ['-march=native'], 'avx2': ['-march=x86-64', '-mavx2', '-mfma'], 'sse2': ['-march=x86-64']}


@pytest.fixture(scope='module', params=PROCESSORS)
def processor(request, tmp_path_factory):
    """Kernels compiled for a processor, which this one must be able to stand for."""
    if request.param != 'native' and f' {request.param} ' not in library._processor():
        pytest.skip(f'this processor has no {request.param}')
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv('MOGANET_CACHE', str(tmp_path_factory.mktemp('cache')))
        flags = [flag for flag in library.FLAGS if flag != '-march=native']
        patch.setattr(library, 'FLAGS', (*flags, *PROCESSORS[request.param]))
        library.build()
        yield request.param
    library.load.cache_clear()


@pytest.fixture(params=[1, 3])
def threads(request):
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


def convolutions(channels):
    _, middle, high = split_channels(channels)
    shapes = (((channels, 1, 5, 5), (channels,)), ((middle, 1, 5, 5), (middle,)), ((high, 1, 7, 7), (high,)))
    return [torch.randn(shape) for pair in shapes for shape in pair]


def arguments(shape):
    """Each function with what it is given for maps of this shape."""
    *sides, channels = shape
    pixels = sides[0] * sides[1] * sides[2]
    maps = [torch.randn(shape) for _ in range(3)]
    flat = [torch.randn(pixels, channels) for _ in range(3)]
    row, context, mask = torch.randn(channels), torch.randn(pixels), torch.randn(shape[0], 1, 1, 1)
    depthwise = (torch.randn(channels, 1, 3, 3), torch.randn(channels), torch.randn(channels))
    weight = torch.randn(2 * channels + 3, channels)
    yield 'product', (flat[0], weight, torch.randn(len(weight)))
    yield 'product', (flat[0], weight, None)
    yield 'product', (flat[0], torch.randn(channels, channels + 5).t(), None)
    yield 'product', (torch.randn(35, 700), torch.randn(97, 700), None)  # more inputs than a panel has
    yield 'product', (flat[0], torch.randn(7, 2 * channels)[:, ::2], None)
    yield 'activated_backward', maps
    yield 'multi_order', (maps[0], convolutions(channels), DILATIONS)
    yield 'multi_order_backward', (maps[0], maps[1], convolutions(channels), DILATIONS)
    yield 'multi_order', (maps[0], convolutions(channels), (2, 1, 4))
    yield 'multi_order_backward', (maps[0], maps[1], convolutions(channels), (2, 1, 4))
    yield 'hidden', (maps[0], *depthwise, torch.randn(1))
    yield 'hidden_backward', (flat[0], context, maps[0], *depthwise)
    yield 'add_scaled', (maps[0], maps[1], row, torch.empty(shape))
    yield 'folded', (flat[0], context, row)
    yield 'folded_backward', (flat[0], context, flat[1], torch.randn(pixels), row)
    yield 'correlate', (flat[0], torch.randn(pixels, 2 * channels + 3))
    yield 'correlate', (torch.randn(pixels, 3 * channels), flat[0])
    for flag in (True, False):
        yield 'activated', (maps[0], torch.randn(shape[0], channels), flag)
        yield 'gated', (flat[0], flat[1], flag, True)
        yield 'gated', (flat[0], flat[1], flag, False)
        yield 'gated_backward', (*flat, flag)
        masked = mask if flag else None
        yield 'add_spatial', (*maps, row, masked, torch.empty(shape))
        yield 'shortcut_backward', (maps[0], maps[1], masked)
        yield 'add_channel', (maps[0], maps[1], context, row, masked, torch.empty(shape))
        yield 'context_backward', (maps[0], context, row, masked)


def results(module, name, given):
    """All tensors that a function returns, and what is written into the last argument where it returns none."""
    given = [t.clone() if isinstance(t, torch.Tensor) else t for t in given]
    found = getattr(module, name)(*given)
    found = given[-1] if found is None else found
    found = [found] if isinstance(found, torch.Tensor) else found
    return [t for part in found for t in (part if isinstance(part, list) else [part])]


@pytest.mark.parametrize('shape', SHAPES, ids=str)
def test_every_kernel_computes_what_pytorch_does(shape, processor, threads):
    names = set()
    for name, given in arguments(shape):
        names.add(name)
        for ours, theirs in zip(results(compiled, name, given), results(passes, name, given), strict=True):
            assert ours.shape == theirs.shape, name
            assert relative_error(ours, theirs) < 2e-6, name
    defined = {name for name, value in vars(passes).items() if getattr(value, '__module__', '') == passes.__name__}
    assert names == {name for name in defined if not name.startswith('_')} - {'factors'} | {'product'}


@pytest.mark.parametrize('shape', SHAPES, ids=str)
@pytest.mark.parametrize('double', [True, False])
def test_a_folded_block_computes_what_pytorch_does(shape, double, processor, threads, monkeypatch):
    monkeypatch.setattr(fused, 'SLICE', 96)  # none, one or two and a rest
    channels, hidden = shape[-1], 3 * shape[-1] + 5

    def weight(outputs, inputs):
        return torch.randn(outputs, inputs) / inputs**0.5

    def row(size=channels):
        return torch.randn(size)

    square = [weight(channels, channels) for _ in range(4)]
    spatial = [square[0], row(), row(), square[1], row(), *(t / 5 for t in convolutions(channels)),
               square[2], row(), square[3], row(), row()]  # fmt: skip
    channel = [weight(hidden, channels), row(hidden), torch.randn(hidden, 1, 3, 3), row(hidden), torch.randn(1, hidden),
               row(1), weight(channels, hidden), row(), row()]  # fmt: skip
    x, found = torch.randn(shape).permute(0, 3, 1, 2), []
    for path, cached in (('auto', 4 << 20), ('auto', 1), ('pytorch', 1)):
        monkeypatch.setattr(ops.products, 'CACHED', cached)
        with ops.use(path):
            found.append(ops.fused.block(x, spatial, channel, DILATIONS, double))
    assert relative_error(found[0], found[2]) < 1e-5
    assert relative_error(found[1], found[2]) < 1e-5
    rows = x.permute(0, 2, 3, 1)
    assert fused.applies(rows, spatial, channel)
    assert not fused.applies(rows.double(), [w.double() for w in spatial], [w.double() for w in channel])
    assert not fused.applies(rows, spatial, [w[..., ::2] for w in channel])


def test_numbers_beyond_what_floats_hold(processor):
    x = torch.tensor([0.0, -0.0, 1e-30, 88.0, -88.0, 100.0, -100.0, 1e4, -1e4, 1e30, torch.nan]).repeat(16)[None]
    silu = torch.nn.functional.silu(x)
    ours = compiled.gated(x, torch.full_like(x, 30.0), False, False) / 30
    assert torch.allclose(ours, silu, rtol=1e-6, atol=1e-30, equal_nan=True)
    h = x.view(1, 1, 1, -1)
    weight = torch.zeros(h.shape[-1], 1, 3, 3)
    weight[:, :, 1, 1] = 1
    gelu, _ = compiled.hidden(h, weight, h.new_zeros(h.shape[-1]), h.new_zeros(h.shape[-1]), h.new_zeros(1))
    assert torch.allclose(gelu, torch.nn.functional.gelu(x), rtol=1e-6, atol=2e-7, equal_nan=True)


def test_float32_on_cpus_is_compiled_unless_that_is_switched_off(processor):
    x = torch.ones(1)
    assert choice.passes_for(x) is compiled
    assert choice.passes_for(x.double()) is choice.passes_for(x.bfloat16()) is passes
    for path in ('pytorch', 'reference'):
        with ops.use(path):
            assert choice.passes_for(x) is passes


@pytest.fixture
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('MOGANET_CACHE', str(tmp_path / 'cache'))
    library.load.cache_clear()
    yield tmp_path / 'cache'
    library.load.cache_clear()


def test_without_kernels_pytorch_computes_and_the_log_says_what_compiles_them(empty_cache, told):
    assert choice.passes_for(torch.ones(1)) is passes
    choice._announce_cpus()
    assert 'faster path for CPUs' in told[-1] and '`moganet kernels` compiles' in told[-1]


def test_the_command_compiles_them(empty_cache, capsys):
    assert cli.main(['kernels']) == 0
    assert str(empty_cache / 'kernels') in capsys.readouterr().out
    assert library.load() is not None and [p.suffix for p in (empty_cache / 'kernels').iterdir()] == ['.so']


@pytest.mark.parametrize(
    ('compiler', 'words'),
    [('/no/such/compiler', 'does not start'), ('false', "'false' fails"), ('true', 'makes no library that loads')],
)
def test_a_compiler_that_fails_leaves_nothing_and_says_so_in_a_line(compiler, words, empty_cache, monkeypatch, capsys):
    monkeypatch.setenv('CXX', compiler)
    assert cli.main(['kernels']) == 1
    assert words in capsys.readouterr().err
    assert library.load() is None and list((empty_cache / 'kernels').iterdir()) == []


def test_another_processor_or_other_sources_have_another_library(empty_cache, tmp_path, monkeypatch):
    paths = {library.path()}
    monkeypatch.setattr(library, '_processor', lambda: 'x86_64 flags: fpu')
    paths.add(library.path())
    source = tmp_path / 'a.cpp'
    source.write_text('int a;')
    monkeypatch.setattr(library, 'SOURCES', (source,))
    paths.add(library.path())
    monkeypatch.setattr(library, 'FLAGS', ('-O0',))
    assert len(paths | {library.path()}) == 4


def test_the_default_type_of_others_does_not_matter(processor):
    g = torch.randn(8, 16)
    expected = compiled.gated_backward(g.clone(), g, g, False)
    torch.set_default_dtype(torch.float64)
    try:
        found = compiled.gated_backward(g.clone(), g, g, False)
    finally:
        torch.set_default_dtype(torch.float32)
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(found, expected, strict=True))
