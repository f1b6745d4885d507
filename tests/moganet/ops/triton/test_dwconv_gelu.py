"""The Triton kernels of the 3x3 convolution and its GELU equal the reference, in values and gradients."""

import pytest
import torch
from torch.nn import functional as F

from helpers import interpreted
from helpers.interpreted import by_interpreter, parametrize, relative

dwconv_gelu = pytest.importorskip('moganet.ops.triton.dwconv_gelu')


def convolved(h, w, b):
    return F.conv2d(h.permute(0, 3, 1, 2), w, b, padding=1, groups=h.shape[-1]).permute(0, 2, 3, 1)


def arguments(shape, dtype=torch.float32, weights=None):
    channels = shape[-1]
    return [
        torch.randn(shape, dtype=dtype),
        *(torch.randn(s, dtype=weights or dtype) for s in ((channels, 1, 3, 3), (channels,))),
    ]


def assert_equals_reference(tensors, bound):
    h, w, b = tensors
    exact = [x.double().requires_grad_() for x in tensors]
    expected = F.gelu(convolved(*exact))
    a = dwconv_gelu.forward(h, w, b)
    assert a.dtype is h.dtype
    assert a.is_contiguous()
    assert relative(a, expected) < bound
    da = torch.randn_like(h)
    dh, dw, db = torch.autograd.grad(expected, exact, da.double())
    again, found, sums = dwconv_gelu.backward(da, h, w, b)
    assert again.data_ptr() == da.data_ptr()
    assert torch.equal(again, a)
    assert found.dtype is h.dtype
    assert relative(found, dh) < bound
    assert sums.dtype is torch.float32
    assert sums.shape == (11, h.shape[-1])
    assert relative(sums[:9].t(), dw.flatten(1)) < bound
    assert relative(sums[9], db) < bound
    assert relative(sums[10], dh.sum((0, 1, 2))) < bound


@by_interpreter
@parametrize(('dtype', 'bound'), interpreted.BOUNDS)
@parametrize('shape', [(2, 3, 7, 24), (1, 1, 1, 8)])
def test_values_and_gradients_equal_the_reference(shape, dtype, bound):
    assert_equals_reference(arguments(shape, dtype), bound)


@pytest.mark.interpreter
@by_interpreter
@pytest.mark.parametrize('shape', [(1, 2, 9, 72), (2, 5, 3, 16), (1, 1, 8, 3)])
def test_maps_may_be_larger_than_a_program_or_smaller_than_the_kernel(shape):
    assert_equals_reference(arguments(shape), 1e-6)


@pytest.mark.interpreter
@by_interpreter
def test_blocks_of_channels_may_be_whole():
    assert_equals_reference(arguments((1, 2, 2, 128)), 1e-6)


@pytest.mark.interpreter
@by_interpreter
@pytest.mark.parametrize('maps', [torch.bfloat16, torch.float16])
def test_weights_may_be_of_another_type_than_maps(maps):
    assert_equals_reference(arguments((1, 3, 3, 16), maps, weights=torch.float32), 1e-2)


@pytest.mark.interpreter
@by_interpreter
@pytest.mark.parametrize(('least', 'most', 'tiling'), [(4, 9, (3, 4)), (1, 1, (5, 1))])
def test_programs_share_tiles_and_sum_alike(least, most, tiling, monkeypatch):
    monkeypatch.setattr(dwconv_gelu, 'MIN_PROGRAMS', least)
    monkeypatch.setattr(dwconv_gelu, 'MAX_PROGRAMS', most)
    monkeypatch.setattr(dwconv_gelu, 'tiling_of', dwconv_gelu.tiling_of.__wrapped__)
    assert dwconv_gelu.tiling_of(2, 5, 3, 8, summed=True) == dwconv_gelu.tiling_of(2, 5, 3, 8) == tiling
    assert_equals_reference(arguments((2, 5, 3, 8)), 1e-6)


@pytest.mark.parametrize(('size', 'channels'), [(56, 512), (28, 1024), (14, 1280), (7, 2048)])
def test_programs_suffice_and_sums_are_small(size, channels):
    _, chunks = dwconv_gelu.tiling_of(128, size, size, channels)
    assert chunks * channels // dwconv_gelu.BLOCK >= dwconv_gelu.TARGET_PROGRAMS
    _, chunks = dwconv_gelu.tiling_of(128, size, size, channels, summed=True)
    assert chunks * channels // dwconv_gelu.BLOCK >= dwconv_gelu.TARGET_PROGRAMS
    share = 4 * 11 * chunks / (2 * 128 * size * size)
    assert share < 0.06 or (size == 7 and share < 0.2)


def identity(values, dtype=torch.float32):
    """Return arguments whose convolution is ``values``, one per channel."""
    w = torch.zeros(len(values), 1, 3, 3)
    w[:, :, 1, 1] = 1
    return values.to(dtype).view(1, 1, 1, -1), w, torch.zeros(len(values))


@by_interpreter
@parametrize(('dtype', 'bound'), [(torch.float32, 2e-7), (torch.bfloat16, 1e-6)])
def test_gelu_and_its_derivative_are_those_of_erf(dtype, bound):
    h, w, b = identity(torch.linspace(-6, 6, 192).to(dtype), dtype)
    exact = h.double().requires_grad_()
    expected = F.gelu(exact)
    (derivative,) = torch.autograd.grad(expected.sum(), exact)
    # The sums are float32: they show the polynomial's error where maps are rounded to 16 bits.
    a, _, sums = dwconv_gelu.backward(torch.ones_like(h), h, w, b)
    resolution = torch.finfo(dtype).eps
    assert ((a.double() - expected).abs() <= bound + resolution * expected.abs()).all()
    assert ((sums[9].double() - derivative).abs() <= 2 * bound).all()


@by_interpreter
@parametrize('dtype', [torch.float32, torch.bfloat16])
def test_large_numbers_stay_what_they_are(dtype):
    values = torch.tensor([-1e30, -1e4, -300.0, -20.0, 0.0, 20.0, 300.0, 1e4, 1e30], dtype=dtype)
    h, w, b = identity(values, dtype)
    assert torch.equal(dwconv_gelu.forward(h, w, b).view(-1), values.clamp_min(0))
    _, dh, sums = dwconv_gelu.backward(torch.ones_like(h), h, w, b)
    expected = (values > 0).float() + 0.5 * (values == 0)
    assert torch.equal(sums[9], expected)
    assert torch.equal(dh.view(-1).float(), expected)


def test_an_image_of_2_to_the_31_elements_is_refused():
    h = torch.empty(1, 1 << 15, 1 << 14, 4, device='meta')
    with pytest.raises(ValueError, match='smaller images'):
        dwconv_gelu.forward(h, torch.empty(4, 1, 3, 3), torch.empty(4))
