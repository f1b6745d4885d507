"""The Triton kernels between matmuls equal their definitions, in values and gradients."""

import pytest
import torch
from torch.nn import functional as F

from helpers import interpreted
from helpers.interpreted import by_interpreter, marked, parametrize, relative

tiling = pytest.importorskip('moganet.ops.triton.tiling')
elementwise = pytest.importorskip('moganet.ops.triton.elementwise')
context = pytest.importorskip('moganet.ops.triton.context')

SHAPES = [(3, 5, 1, 8), (2, 5, 7, 72)]
# One chunk per image, and the real number of programs.
PROGRAMS = [1, 1056]


def maps(count, shape, dtype):
    return [torch.randn(shape).to(dtype) for _ in range(count)]


def exact(*tensors):
    return [t if t is None else t.detach().double().requires_grad_() for t in tensors]


def per_image(x):
    return x[:, None, None]


def assert_near(found, expected, bound):
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.shape == theirs.shape
        assert relative(ours, theirs) < bound


@pytest.fixture(params=marked('programs', PROGRAMS))
def _programs(request, monkeypatch):
    monkeypatch.setattr(tiling, 'TARGET_PROGRAMS', request.param)
    tiling.tiling_of.cache_clear()
    yield
    tiling.tiling_of.cache_clear()


cases = parametrize(('dtype', 'bound'), interpreted.BOUNDS)
shapes = parametrize('shape', SHAPES, ids=str)
programs = pytest.mark.usefixtures('_programs')


@by_interpreter
@cases
@parametrize('shape', [(1, 9, 8, 8), (2, 3, 4, 72), (2, 1, 1, 16)], ids=str)
@parametrize('enough', [1, 64])
def test_decomposition(shape, enough, dtype, bound, monkeypatch):
    monkeypatch.setattr(elementwise, 'SMALL_TILES', ((4, 8, 1), (16, 64, 1)))
    monkeypatch.setattr(elementwise, 'LARGE_TILE', (32, 32, 2))
    monkeypatch.setattr(elementwise, 'MIN_PROGRAMS', enough)
    (q,) = maps(1, shape, dtype)
    q += 1
    b, mean = torch.randn(2, shape[-1]).to(dtype)
    exact_q = q.double()
    shift = b.double() - mean.double() * exact_q.mean((1, 2))
    assert_near([elementwise.decomposed(q, b, mean)], [F.silu(exact_q + per_image(shift))], bound)


@by_interpreter
@programs
@cases
@shapes
def test_activation(shape, dtype, bound):
    a, b, y = maps(3, shape, dtype)
    bias = torch.randn(shape[0], shape[-1])
    exact_y, exact_bias = exact(y, bias)
    u = F.silu(exact_y + per_image(exact_bias))
    assert_near([elementwise.activated(y, bias)], [u], bound)
    expected = torch.autograd.grad(u, (exact_y, exact_bias), a.double() + b.double())
    assert_near(elementwise.activated_backward(a, b, y, bias), expected, 2 * bound)


@by_interpreter
@programs
@cases
@shapes
@parametrize('double', [False, True])
def test_gate(double, shape, dtype, bound):
    d, g, v = maps(3, shape, dtype)
    exact_g, exact_v = exact(g, v)
    y = F.silu(exact_g), F.silu(exact_v)
    y = F.silu(y[0]) * F.silu(y[1]) if double else y[0] * y[1]
    assert_near([elementwise.gated(g, v, double)], [y], bound)
    dg, dv = torch.autograd.grad(y, (exact_g, exact_v), d.double())
    sums = torch.stack((dg.sum((0, 1, 2)), dv.sum((0, 1, 2))))
    assert_near(elementwise.gated_backward(d, g, v, double), (y, dg, dv, sums), 2 * bound)


@by_interpreter
@programs
@cases
@shapes
@parametrize('masked', [True, False])
@parametrize('wide', [True, False])
def test_spatial_residual(masked, wide, shape, dtype, bound):
    x, t, e = maps(3, shape, dtype)
    s, factor = torch.randn(2, shape[-1])
    mask = torch.arange(shape[0]).view(-1, 1, 1, 1) / 2 if masked else None
    out_dtype = torch.float32 if wide else dtype
    factors = torch.ones(1) if mask is None else mask
    for f in (factor, None):
        expected = x.double() + factors * (t.double() * (1 if f is None else f) + e.double() * s)
        found = elementwise.add_spatial(x, t, e, s, f, mask, out_dtype)
        assert found.dtype is out_dtype
        assert_near([found], [expected], bound)
    d = torch.randn(shape).to(out_dtype)
    dt = factors * d.double()
    sums = torch.stack((dt.sum((0, 1, 2)), (dt * e.double()).sum((0, 1, 2))))
    found, found_sums = elementwise.shortcut_backward(d, e, mask)
    assert found.dtype is dtype
    assert_near((found, found_sums), (dt, sums), bound)


@by_interpreter
@programs
@cases
@shapes
def test_scaled_sum(shape, dtype, bound):
    t, d = maps(2, shape, dtype)
    s, bias = torch.randn(shape[-1]), torch.randn(shape[0], shape[-1])
    expected = t.double() + d.double() * s + per_image(bias)
    assert_near([elementwise.add_scaled(t, d, s, bias)], [expected], bound)


@by_interpreter
@programs
@cases
@shapes
@parametrize('masked', [True, False])
def test_channel_residual(masked, shape, dtype, bound):
    channels = shape[-1]
    (x,), (t,) = maps(1, shape, dtype), maps(1, (*shape[:3], channels + context.PAD), dtype)
    s, factor = torch.randn(2, channels)
    mask = torch.arange(shape[0]).view(-1, 1, 1, 1) / 2 if masked else None
    exact_x, exact_t, exact_s = exact(x, t, s)
    c = exact_t[..., channels : channels + 1]
    branch = exact_t[..., :channels] - exact_s * F.gelu(c)
    expected = exact_x + (1 if mask is None else mask) * branch
    found, before_gelu = context.add_channel(x, t.flatten(0, 2), s, None, mask, torch.float32, save_context=True)
    assert found.dtype is torch.float32
    assert_near([found, before_gelu], [expected, c.flatten()], bound)
    scaled = exact_x + (1 if mask is None else mask) * (factor * exact_t[..., :channels] - exact_s * F.gelu(c))
    found, nothing = context.add_channel(x, t.flatten(0, 2), s, factor, mask, dtype, save_context=False)
    assert nothing is None
    assert found.dtype is dtype
    assert_near([found], [scaled], bound)

    d = torch.randn(shape).to(dtype)
    d_t, d_s = torch.autograd.grad(expected, (exact_t, exact_s), d.double())
    dt, plain, by_context, d_context = context.context_backward(d, before_gelu, s, mask, dtype)
    d_t = d_t.flatten(0, 2)
    assert not dt[:, channels + 1 :].any()
    assert_near([dt, plain, by_context], [d_t, d_t[:, :channels].sum(0), -d_s], 2 * bound)
    assert (d_context.double() - d_t[:, channels].sum()).abs() < 2 * bound * d_t[:, channels].abs().sum()
