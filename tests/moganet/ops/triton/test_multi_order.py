"""Triton kernels of the multi-order depthwise convolution: values, gradients, compiled code."""

import pytest
import torch
from torch.nn import functional as F

from helpers import hopper
from helpers.hopper import assert_keeps_all_in_registers
from helpers.interpreted import by_interpreter, parametrize
from helpers.official import relative_error
from moganet.arch import split_channels
from moganet.ops import triton

if triton.available():
    from moganet.ops.triton import multi_order, multi_order_gradients, multi_order_kernels

pytestmark = pytest.mark.skipif(not triton.available(), reason='needs Triton')

# Forward and gradients, against float64.
TOLERANCES = {torch.float32: (1e-5, 1e-4), torch.bfloat16: (2e-2, 2e-2), torch.float16: (2e-3, 2e-3)}


def arguments(shape, dtype=torch.float32, weight_dtype=None, device='cpu'):
    """Return a map and weights; biases are as large as the values, so that a padded bias shows."""
    channels = shape[1]
    _, middle, high = split_channels(channels)
    tensors = [torch.randn(shape, device=device).contiguous(memory_format=torch.channels_last)]
    for count, side in ((channels, 5), (middle, 5), (high, 7)):
        tensors += [torch.randn(count, 1, side, side, device=device) / side, torch.randn(count, device=device)]
    types = [dtype] + 6 * [weight_dtype or dtype]
    return [tensor.to(target) for tensor, target in zip(tensors, types, strict=True)]


def expected(tensors, dilations, grad):
    """Return the reference in float64: the output, and the gradients of all tensors."""
    tensors = [tensor.double().requires_grad_() for tensor in tensors]

    def conv(i):
        weight, bias = tensors[2 * i + 1 : 2 * i + 3]
        padding = weight.shape[2] // 2 * dilations[i]
        return lambda x: F.conv2d(x, weight, bias, padding=padding, dilation=dilations[i], groups=len(weight))

    low, middle, high = conv(0)(tensors[0]).split(split_channels(tensors[0].shape[1]), dim=1)
    out = torch.cat((low, conv(1)(middle), conv(2)(high)), dim=1)
    return out.detach(), torch.autograd.grad(out, tensors, grad.double())


def rows(x):
    return x.permute(0, 2, 3, 1).contiguous()


def assert_exact(tensors, dilations):
    grad = torch.randn_like(tensors[0])
    out_expected, grads_expected = expected(tensors, dilations, grad)
    u, *weights = tensors
    table = multi_order.table_of(weights)
    out = multi_order.forward(rows(u), table, dilations)
    grad_u, grads = multi_order.backward(rows(grad), rows(u), table, weights, dilations)
    assert out.dtype == u.dtype
    assert out.is_contiguous()
    value, gradient = TOLERANCES[out.dtype]
    assert relative_error(out.permute(0, 3, 1, 2).double(), out_expected) < value
    for tensor, found, wanted in zip(tensors, (grad_u.permute(0, 3, 1, 2), *grads), grads_expected, strict=True):
        assert found.dtype == tensor.dtype
        assert found.shape == tensor.shape
        if wanted.norm():
            assert relative_error(found.double(), wanted) < gradient
        else:
            assert not found.norm()


@pytest.fixture(autouse=True)
def no_cached_launches():
    multi_order.launches_of.cache_clear()
    yield
    multi_order.launches_of.cache_clear()


# With few programs, strips are as wide as the map, and a program computes several; otherwise strips are short.
@by_interpreter
@parametrize(
    'shape, dilations, few',
    [
        ((1, 8, 4, 3), (2, 1, 4), False),
        ((1, 8, 3, 5), (1, 2, 3), False),
        ((3, 16, 3, 4), (1, 2, 1), True),
        ((1, 24, 2, 9), (1, 2, 2), False),
        ((1, 40, 8, 1), (1, 2, 1), True),
        ((3, 40, 1, 1), (1, 2, 2), False),
        ((1, 64, 2, 3), (1, 2, 1), False),
        ((1, 8, 16, 2), (1, 2, 3), True),
        ((5, 8, 2, 2), (1, 2, 1), True),
    ],
)
def test_values_and_gradients_are_the_reference_s(shape, dilations, few, monkeypatch):
    monkeypatch.setattr(multi_order, 'TARGET_PROGRAMS', 1 if few else 10**6)
    monkeypatch.setattr(multi_order, 'MIN_COLUMNS', 2)
    assert_exact(arguments(shape), dilations)


@pytest.mark.interpreter
@by_interpreter
@pytest.mark.parametrize(
    ('dtype', 'weight_dtype'),
    [(torch.bfloat16, None), (torch.float16, None), (torch.bfloat16, torch.float32)],
)
def test_half_precision_sums_in_single(dtype, weight_dtype):
    assert_exact(arguments((1, 8, 4, 3), dtype, weight_dtype), (1, 2, 2))


def test_programs_are_enough_and_not_too_many(monkeypatch):
    monkeypatch.setattr(multi_order, 'TARGET_PROGRAMS', 40)
    plain, dilated = multi_order.launches_of(4, 20, 33, 128, 1, 2, 3)
    assert plain.constants['IMAGES'] == 2
    for batch, channels, images in ((1, 128, 1), (9, 128, 2), (3, 32, 2), (9, 32, 4)):
        assert multi_order.launches_of(batch, 20, 33, channels, 1, 2, 3)[0].constants['IMAGES'] == images
    # 20 rows make 3 lines of 7 rows. Blocks of 64 channels and 4 images would be 24 programs, so each strip is cut in
    # two. A program computes 32 channels of two images.
    assert plain.integers[3] == 17
    assert plain.grid(dict(BLOCK=64)) == (2 * 3 * 2, 4)
    # Dilation 2 makes twice 2 lines of 7 rows, for odd and even columns; dilation 3 thrice 2 lines of 5 rows.
    # These are 32 and 72 programs, more than twice 40: a program computes two strips.
    assert dilated.integers[3:5] == (17, 11)
    assert dilated.grid(dict(BLOCK=64)) == (2 * 18 // 2, 4)


def test_images_beyond_what_kernels_can_address_are_refused():
    with torch.device('meta'), pytest.raises(ValueError, match=r'2\*\*31 elements of an image'):
        multi_order.forward(torch.empty(1, 2**14, 2**14, 8), torch.empty(76, 8), (1, 2, 3))


MAPS = ('src', 'inner', 'dst', 'dst_low', 'grad', 'grad_inner')


def compiled_for_hopper(kernel, dtype, warps, **constants):
    pointers = {**dict.fromkeys(MAPS, f'*{dtype}'), 'table': '*fp32'}
    return hopper.compiled(kernel, pointers.get, constants, num_warps=warps)


# A load reads two neighbours. A thread computes K * K products for each row of a column and for two channels.
@pytest.mark.codegen
@pytest.mark.parametrize(
    ('dtype', 'read'), [('bf16', 'ld.global.b32'), ('fp16', 'ld.global.b32'), ('fp32', 'ld.global.v2.b32')]
)
def test_convolutions_compile_for_hopper(dtype, read, tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    numbers = dict(C=128, LOW=16, IMAGES=2, BLOCK=64)
    compiled = compiled_for_hopper(multi_order_kernels.convolve, dtype, 1, D=1, SINGLE_STRIP=False, **numbers)
    dilated = compiled_for_hopper(
        multi_order_kernels.convolve_dilated,
        dtype,
        1,
        SPLIT=64,
        D1=2,
        D2=3,
        SINGLE_5=True,
        SINGLE_7=False,
        **numbers,
    )
    # The 5x5 reads 11 rows. The dilated 7x7 reads 11. The dilated 5x5 reads the 7 that exist, in 29 of 35 products.
    for kernel, products, rows_read in ((compiled, 25 * 7, 11), (dilated, 49 * 5 + 5 * 29, 11 + 7)):
        assert kernel.metadata.shared == 0  # layouts fit each other: nothing is exchanged between threads
        assert kernel.asm['ptx'].count('fma.rn.f32') < 2 * products + 32  # divisions of integers have some, too
        assert kernel.asm['ptx'].count(read) >= 2 * rows_read  # before the loop, and in it
        assert_keeps_all_in_registers(kernel, tmp_path)


@pytest.mark.codegen
def test_gradients_of_weights_compile_for_hopper(tmp_path, monkeypatch):
    monkeypatch.setenv('TRITON_CACHE_DIR', str(tmp_path))
    compiled = compiled_for_hopper(
        multi_order_gradients.correlate, 'bf16', 8, D0=1, D1=2, D2=3, ALIGN=4, COLS=2, BLOCK=32
    )
    assert compiled.asm['ptx'].count('fma.rn.f32') <= 3 * 5 * 7 * 4
    assert compiled.asm['ptx'].count('ld.global.v2.b32') <= 2 * (7 + 11) + 5 + 11
    assert len(compiled.asm['cubin'])


@pytest.mark.gpu
@pytest.mark.parametrize('dtype', TOLERANCES)
@pytest.mark.parametrize(
    'shape', [(2, 64, 56, 56), (1, 128, 28, 28), (110, 320, 14, 14), (70, 512, 7, 7), (1, 32, 75, 101), (3, 24, 9, 11)]
)
def test_real_sizes_on_a_gpu(shape, dtype):
    assert_exact(arguments(shape, dtype, device='cuda'), (1, 2, 3))
